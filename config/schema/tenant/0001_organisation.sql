-- A tenant's database. There is no Church table: the database is the church.

CREATE TABLE "Branch" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "name" text NOT NULL,
    "address" text,
    "city" text,
    "timezone" text NOT NULL DEFAULT 'UTC',
    "phoneNumber" text,
    "isActive" boolean NOT NULL DEFAULT true,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "Branch_isActive_idx" ON "Branch" ("isActive");

CREATE TABLE "Admin" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "email" text NOT NULL UNIQUE,
    "password" text NOT NULL,
    "firstName" text NOT NULL,
    "lastName" text NOT NULL,
    "role" text NOT NULL DEFAULT 'ADMIN',
    "branchId" text REFERENCES "Branch" ("id") ON DELETE SET NULL,
    "isActive" boolean NOT NULL DEFAULT true,
    "lastLoginAt" timestamptz,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "Admin_role_idx" ON "Admin" ("role");
CREATE INDEX "Admin_branchId_idx" ON "Admin" ("branchId");

CREATE TABLE "AdminMFA" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "adminId" text NOT NULL UNIQUE REFERENCES "Admin" ("id") ON DELETE CASCADE,
    "secret" text NOT NULL,
    "isEnabled" boolean NOT NULL DEFAULT false,
    "lastCounter" bigint,
    "verifiedAt" timestamptz,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE "MFARecoveryCode" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "adminId" text NOT NULL REFERENCES "Admin" ("id") ON DELETE CASCADE,
    "codeHash" text NOT NULL,
    "usedAt" timestamptz,
    "createdAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "MFARecoveryCode_adminId_idx" ON "MFARecoveryCode" ("adminId");

CREATE TABLE "Member" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "firstName" text NOT NULL DEFAULT '',
    "lastName" text NOT NULL DEFAULT '',
    "phone" text NOT NULL UNIQUE,
    "email" text,
    "branchId" text REFERENCES "Branch" ("id") ON DELETE SET NULL,
    "optInSms" boolean NOT NULL DEFAULT true,
    "optedOutAt" timestamptz,
    "notes" text,
    "source" text NOT NULL DEFAULT 'manual',
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "Member_branchId_idx" ON "Member" ("branchId");
CREATE INDEX "Member_lastName_firstName_idx" ON "Member" ("lastName", "firstName");
CREATE INDEX "Member_optInSms_idx" ON "Member" ("optInSms");
CREATE INDEX "Member_createdAt_idx" ON "Member" ("createdAt");
