package meta

import (
	"encoding/json"
	"fmt"
	"time"
)

// An IAMPolicy is a managed policy of an account, without its documents.
type IAMPolicy struct {
	ARN            string
	ID             string // ANPA…
	Account        string
	Name           string
	Path           string
	Description    string
	DefaultVersion int
	LastVersion    int // the highest number that a version ever had
	Tags           map[string]string
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

const iamPolicyColumns = `arn, id, account, name, path, description, default_version, last_version, tags, created_at, updated_at`

func scanIAMPolicy(s scanner) (p IAMPolicy, err error) {
	var (
		tags             []byte
		created, updated int64
	)
	err = s.Scan(&p.ARN, &p.ID, &p.Account, &p.Name, &p.Path, &p.Description, &p.DefaultVersion, &p.LastVersion, &tags, &created, &updated)
	if err != nil {
		return p, err
	}
	p.CreatedAt, p.UpdatedAt = fromMicros(created), fromMicros(updated)
	if err := json.Unmarshal(tags, &p.Tags); err != nil {
		return p, fmt.Errorf("read the tags of the policy %s: %w", p.ARN, err)
	}
	return p, nil
}

// InsertIAMPolicy adds a managed policy. ErrExists: the account has one whose
// name differs in case at most.
func (tx *Tx) InsertIAMPolicy(p IAMPolicy) error {
	tx.keys = true
	tags, err := tagText(p.Tags)
	if err != nil {
		return err
	}
	return tx.unique(`INSERT INTO iam_policies (`+iamPolicyColumns+`) VALUES (`+placeholders(1, 11)+`)`,
		p.ARN, p.ID, p.Account, p.Name, p.Path, p.Description, p.DefaultVersion, p.LastVersion, tags, micros(p.CreatedAt), micros(p.UpdatedAt))
}

// SaveIAMPolicy writes what can change of a managed policy.
func (tx *Tx) SaveIAMPolicy(p IAMPolicy) error {
	tx.keys = true
	tags, err := tagText(p.Tags)
	if err != nil {
		return err
	}
	return tx.one(`UPDATE iam_policies SET default_version = $2, last_version = $3, tags = $4, updated_at = $5 WHERE arn = $1`,
		p.ARN, p.DefaultVersion, p.LastVersion, tags, micros(p.UpdatedAt))
}

// IAMPolicy finds a managed policy by its ARN.
func (tx *Tx) IAMPolicy(arn string) (IAMPolicy, error) {
	return get(tx, scanIAMPolicy, `SELECT `+iamPolicyColumns+` FROM iam_policies WHERE arn = $1`, arn)
}

// IAMPolicies lists the managed policies of an account by name.
func (tx *Tx) IAMPolicies(account string) ([]IAMPolicy, error) {
	return list(tx, scanIAMPolicy, `SELECT `+iamPolicyColumns+` FROM iam_policies WHERE account = $1 ORDER BY name`, account)
}

// DeleteIAMPolicy removes a managed policy with its versions.
func (tx *Tx) DeleteIAMPolicy(arn string) error {
	tx.keys = true
	return tx.one(`DELETE FROM iam_policies WHERE arn = $1`, arn)
}

// A PolicyVersion is one document of a managed policy.
type PolicyVersion struct {
	Number    int
	Document  string
	CreatedAt time.Time
}

func scanPolicyVersion(s scanner) (v PolicyVersion, err error) {
	var created int64
	err = s.Scan(&v.Number, &v.Document, &created)
	v.CreatedAt = fromMicros(created)
	return v, err
}

// InsertPolicyVersion adds a version.
func (tx *Tx) InsertPolicyVersion(arn string, v PolicyVersion) error {
	return tx.unique(`INSERT INTO iam_policy_versions (arn, number, document, created_at) VALUES ($1, $2, $3, $4)`,
		arn, v.Number, v.Document, micros(v.CreatedAt))
}

// PolicyVersion finds a version of a managed policy.
func (tx *Tx) PolicyVersion(arn string, number int) (PolicyVersion, error) {
	return get(tx, scanPolicyVersion, `SELECT number, document, created_at FROM iam_policy_versions WHERE arn = $1 AND number = $2`, arn, number)
}

// PolicyVersions lists the versions of a managed policy, youngest first.
func (tx *Tx) PolicyVersions(arn string) ([]PolicyVersion, error) {
	return list(tx, scanPolicyVersion, `SELECT number, document, created_at FROM iam_policy_versions WHERE arn = $1 ORDER BY number DESC`, arn)
}

// DeletePolicyVersion removes a version.
func (tx *Tx) DeletePolicyVersion(arn string, number int) error {
	return tx.one(`DELETE FROM iam_policy_versions WHERE arn = $1 AND number = $2`, arn, number)
}

// An OIDCProvider is an identity provider of an account.
type OIDCProvider struct {
	ARN         string
	Account     string
	URL         string // without its scheme
	ClientIDs   []string
	Thumbprints []string
	Tags        map[string]string
	CreatedAt   time.Time
}

const oidcProviderColumns = `arn, account, url, client_ids, thumbprints, tags, created_at`

func scanOIDCProvider(s scanner) (p OIDCProvider, err error) {
	var (
		clients, prints, tags []byte
		created               int64
	)
	if err := s.Scan(&p.ARN, &p.Account, &p.URL, &clients, &prints, &tags, &created); err != nil {
		return p, err
	}
	p.CreatedAt = fromMicros(created)
	for _, part := range []struct {
		text []byte
		into any
	}{{clients, &p.ClientIDs}, {prints, &p.Thumbprints}, {tags, &p.Tags}} {
		if err := json.Unmarshal(part.text, part.into); err != nil {
			return p, fmt.Errorf("read the identity provider %s: %w", p.ARN, err)
		}
	}
	return p, nil
}

// PutOIDCProvider adds an identity provider or replaces what can change of it.
func (tx *Tx) PutOIDCProvider(p OIDCProvider) error {
	clients, err := textList(p.ClientIDs)
	if err != nil {
		return err
	}
	prints, err := textList(p.Thumbprints)
	if err != nil {
		return err
	}
	tags, err := tagText(p.Tags)
	if err != nil {
		return err
	}
	return tx.exec(`INSERT INTO iam_oidc_providers (`+oidcProviderColumns+`) VALUES (`+placeholders(1, 7)+`)
		ON CONFLICT (arn) DO UPDATE SET client_ids = excluded.client_ids, thumbprints = excluded.thumbprints, tags = excluded.tags`,
		p.ARN, p.Account, p.URL, clients, prints, tags, micros(p.CreatedAt))
}

// OIDCProvider finds an identity provider by its ARN.
func (tx *Tx) OIDCProvider(arn string) (OIDCProvider, error) {
	return get(tx, scanOIDCProvider, `SELECT `+oidcProviderColumns+` FROM iam_oidc_providers WHERE arn = $1`, arn)
}

// OIDCProviders lists the identity providers of an account.
func (tx *Tx) OIDCProviders(account string) ([]OIDCProvider, error) {
	return list(tx, scanOIDCProvider, `SELECT `+oidcProviderColumns+` FROM iam_oidc_providers WHERE account = $1 ORDER BY arn`, account)
}

// DeleteOIDCProvider removes an identity provider.
func (tx *Tx) DeleteOIDCProvider(arn string) error {
	return tx.one(`DELETE FROM iam_oidc_providers WHERE arn = $1`, arn)
}

// An Account has a root user.
type Account struct {
	ID        string
	CreatedAt time.Time
}

// InsertAccount adds an account. ErrExists: it is there.
func (tx *Tx) InsertAccount(a Account) error {
	return tx.unique(`INSERT INTO accounts (id, created_at) VALUES ($1, $2)`, a.ID, micros(a.CreatedAt))
}

// EnsureAccount adds an account unless it is there.
func (tx *Tx) EnsureAccount(a Account) error {
	return tx.exec(`INSERT INTO accounts (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, a.ID, micros(a.CreatedAt))
}

// Account finds an account.
func (tx *Tx) Account(id string) (Account, error) {
	return get(tx, scanAccount, `SELECT id, created_at FROM accounts WHERE id = $1`, id)
}

// Accounts lists all accounts by id.
func (tx *Tx) Accounts() ([]Account, error) {
	return list(tx, scanAccount, `SELECT id, created_at FROM accounts ORDER BY id`)
}

func scanAccount(s scanner) (a Account, err error) {
	var created int64
	err = s.Scan(&a.ID, &created)
	a.CreatedAt = fromMicros(created)
	return a, err
}

// HasRepositories tells whether an account has repositories in any region.
func (tx *Tx) HasRepositories(account string) (bool, error) {
	return get(tx, scanBool, `SELECT EXISTS (SELECT 1 FROM repositories WHERE account = $1)`, account)
}

// SealedForOthers reports whether a repository of another account is encrypted
// with a KMS key of an account.
func (tx *Tx) SealedForOthers(account string) (bool, error) {
	return get(tx, scanBool, `SELECT EXISTS (SELECT 1 FROM repositories r JOIN kms_keys k ON k.arn = r.kms_key
		WHERE k.account = $1 AND r.account <> $1)`, account)
}

// DeleteAccount removes an account with its users, roles, policies, identity
// providers, sessions and access keys, its cache rules, creation templates,
// backfills, secrets, the settings of its registries and its KMS keys: another one
// of the same number begins anew. No repository may be sealed under those, see
// SealedForOthers.
func (tx *Tx) DeleteAccount(id string) error {
	tx.keys = true
	for _, table := range []string{"access_keys", "iam_sessions", "iam_principals", "iam_policies", "iam_oidc_providers", "cache_rules",
		"creation_templates", "replication_backfills", "kms_aliases", "kms_keys", "secrets"} {
		if err := tx.exec(`DELETE FROM `+table+` WHERE account = $1`, id); err != nil {
			return err
		}
	}
	if err := tx.exec(`DELETE FROM settings WHERE name LIKE $1`, "% "+id+" %"); err != nil { // registrySettingName
		return err
	}
	return tx.one(`DELETE FROM accounts WHERE id = $1`, id)
}
