-- The registry proper: metadata only, never business data. Names and columns are those of the
-- system being replaced. Every statement adds what is missing and alters nothing that is found,
-- so that the same file makes a new registry and adopts an existing one.

CREATE TABLE IF NOT EXISTS public."Church" (
    "id" varchar(255) PRIMARY KEY,
    "name" varchar(255) NOT NULL,
    "email" varchar(255) NOT NULL UNIQUE,
    "stripeCustomerId" varchar(255) UNIQUE,
    "subscriptionStatus" varchar(255) NOT NULL DEFAULT 'trial',
    "trialEndsAt" timestamp,
    "createdAt" timestamp NOT NULL DEFAULT current_timestamp,
    "updatedAt" timestamp NOT NULL DEFAULT current_timestamp
);

CREATE TABLE IF NOT EXISTS public."Tenant" (
    "id" varchar(255) PRIMARY KEY,
    "churchId" varchar(255) NOT NULL UNIQUE REFERENCES public."Church" ("id") ON DELETE CASCADE,
    "name" varchar(255) NOT NULL,
    "email" varchar(255) NOT NULL UNIQUE,
    "databaseUrl" text NOT NULL,
    "databaseHost" varchar(255) NOT NULL,
    "databasePort" integer NOT NULL DEFAULT 5432,
    "databaseName" varchar(255) NOT NULL,
    "subscriptionStatus" varchar(255) NOT NULL DEFAULT 'trial',
    "subscriptionPlan" varchar(255) NOT NULL DEFAULT 'starter',
    "trialEndsAt" timestamp,
    "telnyxPhoneNumber" varchar(255) UNIQUE,
    "telnyxNumberSid" varchar(255) UNIQUE,
    "status" varchar(255) NOT NULL DEFAULT 'active',
    "schemaVersion" varchar(255) NOT NULL DEFAULT '1.0.0',
    "createdAt" timestamp NOT NULL DEFAULT current_timestamp,
    "updatedAt" timestamp NOT NULL DEFAULT current_timestamp,
    "lastAccessedAt" timestamp NOT NULL DEFAULT current_timestamp
);

-- A registry made halfway (it happened: 10 of 18 columns) gets the columns it lacks. What has no
-- honest default stays nullable there.
ALTER TABLE public."Tenant"
    ADD COLUMN IF NOT EXISTS "databaseHost" varchar(255),
    ADD COLUMN IF NOT EXISTS "databasePort" integer DEFAULT 5432,
    ADD COLUMN IF NOT EXISTS "databaseName" varchar(255),
    ADD COLUMN IF NOT EXISTS "subscriptionStatus" varchar(255) DEFAULT 'trial',
    ADD COLUMN IF NOT EXISTS "subscriptionPlan" varchar(255) DEFAULT 'starter',
    ADD COLUMN IF NOT EXISTS "trialEndsAt" timestamp,
    ADD COLUMN IF NOT EXISTS "telnyxPhoneNumber" varchar(255),
    ADD COLUMN IF NOT EXISTS "telnyxNumberSid" varchar(255),
    ADD COLUMN IF NOT EXISTS "status" varchar(255) DEFAULT 'active',
    ADD COLUMN IF NOT EXISTS "schemaVersion" varchar(255) DEFAULT '1.0.0',
    ADD COLUMN IF NOT EXISTS "createdAt" timestamp DEFAULT current_timestamp,
    ADD COLUMN IF NOT EXISTS "updatedAt" timestamp DEFAULT current_timestamp,
    ADD COLUMN IF NOT EXISTS "lastAccessedAt" timestamp DEFAULT current_timestamp;

CREATE INDEX IF NOT EXISTS idx_tenant_churchid ON public."Tenant" ("churchId");
CREATE INDEX IF NOT EXISTS idx_tenant_telnyx_phone ON public."Tenant" ("telnyxPhoneNumber");
CREATE INDEX IF NOT EXISTS idx_tenant_status ON public."Tenant" ("status");
CREATE INDEX IF NOT EXISTS idx_tenant_subscription_plan ON public."Tenant" ("subscriptionPlan");
CREATE INDEX IF NOT EXISTS idx_tenant_created_at ON public."Tenant" ("createdAt");

CREATE TABLE IF NOT EXISTS public."PhoneNumberRegistry" (
    "phoneNumber" varchar(255) PRIMARY KEY,
    "tenantId" varchar(255) NOT NULL REFERENCES public."Tenant" ("id") ON DELETE CASCADE,
    "createdAt" timestamp NOT NULL DEFAULT current_timestamp
);

CREATE TABLE IF NOT EXISTS public."AdminEmailIndex" (
    "emailHash" varchar(255) PRIMARY KEY,
    "tenantId" varchar(255) NOT NULL REFERENCES public."Tenant" ("id") ON DELETE CASCADE,
    "createdAt" timestamp NOT NULL DEFAULT current_timestamp
);
