-- +goose Up
-- Accounts that have a root user. Names are unique whatever their case (IAM User Guide, "IAM identifiers").
CREATE TABLE accounts (
    id         TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO accounts (id, created_at) SELECT account, MIN(created_at) FROM access_keys GROUP BY account;

-- Users and roles. kind is user or role; boundary is the ARN of a managed policy, tags are a JSON object.
CREATE TABLE iam_principals (
    id           TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,
    account      TEXT NOT NULL,
    name         TEXT NOT NULL,
    path         TEXT NOT NULL,
    description  TEXT NOT NULL,
    trust_policy TEXT NOT NULL,
    max_session  INTEGER NOT NULL,
    boundary     TEXT NOT NULL,
    tags         TEXT NOT NULL,
    created_at   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX iam_principals_by_name ON iam_principals (account, kind, lower(name));
CREATE INDEX iam_principals_by_boundary ON iam_principals (boundary) WHERE boundary <> '';

CREATE TABLE iam_inline_policies (
    principal_id TEXT NOT NULL REFERENCES iam_principals (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    document     TEXT NOT NULL,
    PRIMARY KEY (principal_id, name)
) WITHOUT ROWID;

-- Managed policies of accounts. last_version is the highest number that a version ever had.
CREATE TABLE iam_policies (
    arn             TEXT PRIMARY KEY,
    id              TEXT NOT NULL,
    account         TEXT NOT NULL,
    name            TEXT NOT NULL,
    path            TEXT NOT NULL,
    description     TEXT NOT NULL,
    default_version INTEGER NOT NULL,
    last_version    INTEGER NOT NULL,
    tags            TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX iam_policies_by_name ON iam_policies (account, lower(name));

CREATE TABLE iam_policy_versions (
    arn        TEXT NOT NULL REFERENCES iam_policies (arn) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    document   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (arn, number)
) WITHOUT ROWID;

-- arn may be that of a policy of AWS, which has no row.
CREATE TABLE iam_attachments (
    principal_id TEXT NOT NULL REFERENCES iam_principals (id) ON DELETE CASCADE,
    arn          TEXT NOT NULL,
    PRIMARY KEY (principal_id, arn)
) WITHOUT ROWID;
CREATE INDEX iam_attachments_by_policy ON iam_attachments (arn, principal_id);

-- client_ids and thumbprints are JSON arrays.
CREATE TABLE iam_oidc_providers (
    arn         TEXT PRIMARY KEY,
    account     TEXT NOT NULL,
    url         TEXT NOT NULL,
    client_ids  TEXT NOT NULL,
    thumbprints TEXT NOT NULL,
    tags        TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX iam_oidc_providers_by_account ON iam_oidc_providers (account, arn);

-- Temporary credentials. Their secrets are in the session tokens only. principal_id is NULL for sessions of a root user,
-- policies is a JSON array of session policies.
CREATE TABLE iam_sessions (
    id           TEXT PRIMARY KEY,
    principal_id TEXT REFERENCES iam_principals (id) ON DELETE CASCADE,
    account      TEXT NOT NULL,
    principal    TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    policies     TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) WITHOUT ROWID;
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
