-- +goose Up
-- Accounts that have a root user. Names are unique whatever their case (IAM User Guide, "IAM identifiers").
CREATE TABLE accounts (
    id         TEXT COLLATE "C" PRIMARY KEY,
    created_at BIGINT NOT NULL
);
INSERT INTO accounts (id, created_at) SELECT account, MIN(created_at) FROM access_keys GROUP BY account;

-- Users and roles. kind is user or role; boundary is the ARN of a managed policy, tags are a JSON object.
CREATE TABLE iam_principals (
    id           TEXT COLLATE "C" PRIMARY KEY,
    kind         TEXT NOT NULL,
    account      TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    path         TEXT COLLATE "C" NOT NULL,
    description  TEXT NOT NULL,
    trust_policy TEXT NOT NULL,
    max_session  BIGINT NOT NULL,
    boundary     TEXT COLLATE "C" NOT NULL,
    tags         TEXT NOT NULL,
    created_at   BIGINT NOT NULL
);
CREATE UNIQUE INDEX iam_principals_by_name ON iam_principals (account, kind, lower(name));
CREATE INDEX iam_principals_by_boundary ON iam_principals (boundary) WHERE boundary <> '';

CREATE TABLE iam_inline_policies (
    principal_id TEXT COLLATE "C" NOT NULL REFERENCES iam_principals (id) ON DELETE CASCADE,
    name         TEXT COLLATE "C" NOT NULL,
    document     TEXT NOT NULL,
    PRIMARY KEY (principal_id, name)
);

-- Managed policies of accounts. last_version is the highest number that a version ever had.
CREATE TABLE iam_policies (
    arn             TEXT COLLATE "C" PRIMARY KEY,
    id              TEXT NOT NULL,
    account         TEXT COLLATE "C" NOT NULL,
    name            TEXT COLLATE "C" NOT NULL,
    path            TEXT COLLATE "C" NOT NULL,
    description     TEXT NOT NULL,
    default_version BIGINT NOT NULL,
    last_version    BIGINT NOT NULL,
    tags            TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL
);
CREATE UNIQUE INDEX iam_policies_by_name ON iam_policies (account, lower(name));

CREATE TABLE iam_policy_versions (
    arn        TEXT COLLATE "C" NOT NULL REFERENCES iam_policies (arn) ON DELETE CASCADE,
    number     BIGINT NOT NULL,
    document   TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (arn, number)
);

-- arn may be that of a policy of AWS, which has no row.
CREATE TABLE iam_attachments (
    principal_id TEXT COLLATE "C" NOT NULL REFERENCES iam_principals (id) ON DELETE CASCADE,
    arn          TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (principal_id, arn)
);
CREATE INDEX iam_attachments_by_policy ON iam_attachments (arn, principal_id);

-- client_ids and thumbprints are JSON arrays.
CREATE TABLE iam_oidc_providers (
    arn         TEXT COLLATE "C" PRIMARY KEY,
    account     TEXT COLLATE "C" NOT NULL,
    url         TEXT COLLATE "C" NOT NULL,
    client_ids  TEXT NOT NULL,
    thumbprints TEXT NOT NULL,
    tags        TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX iam_oidc_providers_by_account ON iam_oidc_providers (account, arn);

-- Temporary credentials. Their secrets are in the session tokens only. principal_id is NULL for sessions of a root user,
-- policies is a JSON array of session policies.
CREATE TABLE iam_sessions (
    id           TEXT COLLATE "C" PRIMARY KEY,
    principal_id TEXT COLLATE "C" REFERENCES iam_principals (id) ON DELETE CASCADE,
    account      TEXT NOT NULL,
    principal    TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    policies     TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX iam_sessions_by_principal ON iam_sessions (principal_id);
CREATE INDEX iam_sessions_by_end ON iam_sessions (expires_at);

-- +goose Down
DROP TABLE iam_sessions;
DROP TABLE iam_oidc_providers;
DROP TABLE iam_attachments;
DROP TABLE iam_policy_versions;
DROP TABLE iam_policies;
DROP TABLE iam_inline_policies;
DROP TABLE iam_principals;
DROP TABLE accounts;
