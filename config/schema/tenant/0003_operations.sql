-- Lifecycle, operations and compliance.

CREATE TABLE "Subscription" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "stripeSubscriptionId" text UNIQUE,
    "plan" text NOT NULL DEFAULT 'starter',
    "status" text NOT NULL DEFAULT 'trial',
    "currentPeriodStart" timestamptz,
    "currentPeriodEnd" timestamptz,
    "cancelAtPeriodEnd" boolean NOT NULL DEFAULT false,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "Subscription_status_idx" ON "Subscription" ("status");

CREATE TABLE "OnboardingProgress" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "adminId" text NOT NULL UNIQUE REFERENCES "Admin" ("id") ON DELETE CASCADE,
    "currentStep" text NOT NULL DEFAULT 'welcome',
    "completedSteps" text[] NOT NULL DEFAULT '{}',
    "completedAt" timestamptz,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE "AnalyticsEvent" (
    "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "name" text NOT NULL,
    "adminId" text REFERENCES "Admin" ("id") ON DELETE SET NULL,
    "properties" jsonb NOT NULL DEFAULT '{}',
    "occurredAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "AnalyticsEvent_name_occurredAt_idx" ON "AnalyticsEvent" ("name", "occurredAt");
CREATE INDEX "AnalyticsEvent_adminId_idx" ON "AnalyticsEvent" ("adminId");

CREATE TABLE "DeadLetterQueue" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "source" text NOT NULL,
    "externalId" text,
    "payload" jsonb NOT NULL,
    "error" text NOT NULL,
    "attempts" integer NOT NULL DEFAULT 0,
    "status" text NOT NULL DEFAULT 'pending',
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "resolvedAt" timestamptz
);
CREATE INDEX "DeadLetterQueue_status_createdAt_idx" ON "DeadLetterQueue" ("status", "createdAt");
CREATE INDEX "DeadLetterQueue_source_externalId_idx" ON "DeadLetterQueue" ("source", "externalId");

CREATE TABLE "AgentAudit" (
    "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "actor" text NOT NULL,
    "action" text NOT NULL,
    "entity" text,
    "entityId" text,
    "details" jsonb NOT NULL DEFAULT '{}',
    "createdAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "AgentAudit_createdAt_idx" ON "AgentAudit" ("createdAt");
CREATE INDEX "AgentAudit_entity_entityId_idx" ON "AgentAudit" ("entity", "entityId");

CREATE TABLE "PlanningCenterIntegration" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "accountId" text NOT NULL UNIQUE,
    "accessToken" text NOT NULL,
    "refreshToken" text NOT NULL,
    "tokenExpiresAt" timestamptz,
    "lastSyncAt" timestamptz,
    "lastSyncStatus" text,
    "isActive" boolean NOT NULL DEFAULT true,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE "DataExport" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "requestedById" text REFERENCES "Admin" ("id") ON DELETE SET NULL,
    "status" text NOT NULL DEFAULT 'pending',
    "format" text NOT NULL DEFAULT 'json',
    "downloadUrl" text,
    "expiresAt" timestamptz,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "completedAt" timestamptz
);
CREATE INDEX "DataExport_status_idx" ON "DataExport" ("status");
CREATE INDEX "DataExport_requestedById_idx" ON "DataExport" ("requestedById");

CREATE TABLE "AccountDeletionRequest" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "requestedById" text REFERENCES "Admin" ("id") ON DELETE SET NULL,
    "reason" text,
    "status" text NOT NULL DEFAULT 'pending',
    "scheduledFor" timestamptz NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "cancelledAt" timestamptz,
    "completedAt" timestamptz
);
CREATE INDEX "AccountDeletionRequest_status_scheduledFor_idx"
    ON "AccountDeletionRequest" ("status", "scheduledFor");

CREATE TABLE "NPSSurvey" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "adminId" text REFERENCES "Admin" ("id") ON DELETE SET NULL,
    "score" integer NOT NULL CHECK ("score" BETWEEN 0 AND 10),
    "comment" text,
    "createdAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "NPSSurvey_createdAt_idx" ON "NPSSurvey" ("createdAt");

CREATE TABLE "ConsentLog" (
    "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "memberId" text REFERENCES "Member" ("id") ON DELETE SET NULL,
    "phone" text NOT NULL,
    "action" text NOT NULL CHECK ("action" IN ('opt_in', 'opt_out')),
    "channel" text NOT NULL DEFAULT 'sms',
    "source" text NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "ConsentLog_memberId_idx" ON "ConsentLog" ("memberId");
CREATE INDEX "ConsentLog_phone_createdAt_idx" ON "ConsentLog" ("phone", "createdAt");
