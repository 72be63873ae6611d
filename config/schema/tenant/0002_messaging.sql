-- Messages out (campaigns, templates, queues) and conversations in both directions.

CREATE TABLE "MessageTemplate" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "name" text NOT NULL,
    "content" text NOT NULL,
    "category" text NOT NULL DEFAULT 'general',
    "isDefault" boolean NOT NULL DEFAULT false,
    "usageCount" integer NOT NULL DEFAULT 0,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "MessageTemplate_category_idx" ON "MessageTemplate" ("category");

CREATE TABLE "RecurringMessage" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "name" text NOT NULL,
    "content" text NOT NULL,
    "frequency" text NOT NULL,
    "dayOfWeek" integer CHECK ("dayOfWeek" BETWEEN 0 AND 6),
    "timeOfDay" text NOT NULL,
    "targetBranchIds" text[] NOT NULL DEFAULT '{}',
    "isActive" boolean NOT NULL DEFAULT true,
    "lastSentAt" timestamptz,
    "nextSendAt" timestamptz,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "RecurringMessage_isActive_nextSendAt_idx"
    ON "RecurringMessage" ("isActive", "nextSendAt");

CREATE TABLE "Message" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "content" text NOT NULL,
    "status" text NOT NULL DEFAULT 'draft',
    "templateId" text REFERENCES "MessageTemplate" ("id") ON DELETE SET NULL,
    "recurringMessageId" text REFERENCES "RecurringMessage" ("id") ON DELETE SET NULL,
    "createdById" text REFERENCES "Admin" ("id") ON DELETE SET NULL,
    "mediaUrls" text[] NOT NULL DEFAULT '{}',
    "totalRecipients" integer NOT NULL DEFAULT 0,
    "deliveredCount" integer NOT NULL DEFAULT 0,
    "failedCount" integer NOT NULL DEFAULT 0,
    "scheduledAt" timestamptz,
    "sentAt" timestamptz,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "Message_status_idx" ON "Message" ("status");
CREATE INDEX "Message_scheduledAt_idx" ON "Message" ("scheduledAt");
CREATE INDEX "Message_createdById_idx" ON "Message" ("createdById");
CREATE INDEX "Message_sentAt_idx" ON "Message" ("sentAt");

CREATE TABLE "MessageRecipient" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "messageId" text NOT NULL REFERENCES "Message" ("id") ON DELETE CASCADE,
    "memberId" text NOT NULL REFERENCES "Member" ("id") ON DELETE CASCADE,
    "providerMessageId" text UNIQUE,
    "status" text NOT NULL DEFAULT 'pending',
    "failureReason" text,
    "sentAt" timestamptz,
    "deliveredAt" timestamptz,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now(),
    UNIQUE ("messageId", "memberId")
);
CREATE INDEX "MessageRecipient_memberId_idx" ON "MessageRecipient" ("memberId");
CREATE INDEX "MessageRecipient_status_idx" ON "MessageRecipient" ("status");

CREATE TABLE "MessageQueue" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "messageId" text REFERENCES "Message" ("id") ON DELETE CASCADE,
    "recipientId" text REFERENCES "MessageRecipient" ("id") ON DELETE CASCADE,
    "phone" text NOT NULL,
    "content" text NOT NULL,
    "status" text NOT NULL DEFAULT 'queued',
    "priority" integer NOT NULL DEFAULT 0,
    "attempts" integer NOT NULL DEFAULT 0,
    "nextAttemptAt" timestamptz NOT NULL DEFAULT now(),
    "lastError" text,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "MessageQueue_status_nextAttemptAt_idx" ON "MessageQueue" ("status", "nextAttemptAt");
CREATE INDEX "MessageQueue_messageId_idx" ON "MessageQueue" ("messageId");

CREATE TABLE "Conversation" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "memberId" text NOT NULL UNIQUE REFERENCES "Member" ("id") ON DELETE CASCADE,
    "status" text NOT NULL DEFAULT 'open',
    "unreadCount" integer NOT NULL DEFAULT 0,
    "assignedAdminId" text REFERENCES "Admin" ("id") ON DELETE SET NULL,
    "lastMessageAt" timestamptz NOT NULL DEFAULT now(),
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "Conversation_status_lastMessageAt_idx" ON "Conversation" ("status", "lastMessageAt");
CREATE INDEX "Conversation_assignedAdminId_idx" ON "Conversation" ("assignedAdminId");

CREATE TABLE "ConversationMessage" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "conversationId" text NOT NULL REFERENCES "Conversation" ("id") ON DELETE CASCADE,
    "memberId" text REFERENCES "Member" ("id") ON DELETE SET NULL,
    "direction" text NOT NULL CHECK ("direction" IN ('inbound', 'outbound')),
    "content" text NOT NULL,
    "mediaUrls" text[] NOT NULL DEFAULT '{}',
    "providerMessageId" text UNIQUE,
    "status" text NOT NULL DEFAULT 'received',
    "sentByAdminId" text REFERENCES "Admin" ("id") ON DELETE SET NULL,
    "occurredAt" timestamptz NOT NULL DEFAULT now(),
    "createdAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "ConversationMessage_conversationId_occurredAt_idx"
    ON "ConversationMessage" ("conversationId", "occurredAt");
CREATE INDEX "ConversationMessage_memberId_idx" ON "ConversationMessage" ("memberId");
CREATE INDEX "ConversationMessage_direction_idx" ON "ConversationMessage" ("direction");

CREATE TABLE "ChatConversation" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "adminId" text REFERENCES "Admin" ("id") ON DELETE CASCADE,
    "visitorId" text,
    "title" text NOT NULL DEFAULT '',
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "ChatConversation_adminId_idx" ON "ChatConversation" ("adminId");
CREATE INDEX "ChatConversation_visitorId_idx" ON "ChatConversation" ("visitorId");

CREATE TABLE "ChatMessage" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "chatConversationId" text NOT NULL REFERENCES "ChatConversation" ("id") ON DELETE CASCADE,
    "role" text NOT NULL CHECK ("role" IN ('user', 'assistant', 'system')),
    "content" text NOT NULL,
    "tokenCount" integer,
    "createdAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "ChatMessage_chatConversationId_createdAt_idx"
    ON "ChatMessage" ("chatConversationId", "createdAt");
