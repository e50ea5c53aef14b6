package meta

import (
	"encoding/json"
	"fmt"
	"strings"
)

// SchemaVersion is the version of the newest migration.
const SchemaVersion = 15

// A Table is one of those that a backup carries.
type Table struct {
	Name string
	// Columns are name and kind: "id int", "name text" or "wrapped bytes". The
	// first Key of them are the primary key.
	Columns  []string
	Key      int
	Identity bool // the database numbers the first column
}

// Tables lists the tables of a schema version, each after those it refers to;
// nil when the version is not known. Upload sessions, claims and the trash are
// left out: they are about bytes and servers of one place and time. So are
// previews of lifecycle policies, which are good for a day, what cache rules
// counted, and the sessions of roles and users, which end by themselves.
func Tables(version int) []Table {
	if version < 3 || version > SchemaVersion {
		return nil
	}
	out := tables(tablesOf3()) // what 4 changed is not in a backup
	if version >= 5 {
		out = append(out, tablesOf5()...)
	}
	if version >= 6 {
		out.with("images", "status text", "archived_at int", "activated_at int")
		out = append(out, tablesOf6()...)
	}
	if version >= 7 {
		out.with("access_keys", "sealed bytes")
	}
	if version >= 8 {
		out = append(out, tablesOf8()...)
	}
	if version >= 9 {
		out = append(out, tablesOf9()...)
	}
	if version >= 10 {
		out.with("image_scans", "completed_at int", "source_updated_at int", "counts text", "attempts int", "claimed_until int")
		out = append(out, tablesOf10()...)
	}
	if version >= 11 {
		out.with("blobs", "sealed bytes")
	}
	if version >= 12 {
		out.with("lifecycle_runs", "freed int")
	}
	if version >= 14 {
		out.with("blobs", "packed int", "cold int", "incompressible int")
	}
	if version >= 15 {
		out = append(out, tablesOf15()...)
	}
	return out
}

type tables []Table

// with adds columns to a table.
func (ts tables) with(name string, columns ...string) {
	for i := range ts {
		if ts[i].Name == name {
			ts[i].Columns = append(ts[i].Columns, columns...)
		}
	}
}

func tablesOf3() []Table {
	return []Table{
		{"settings", []string{"name text", "value bytes"}, 1, false},
		{"access_keys", []string{"id text", "account text", "principal text", "user_id text", "secret text", "active int", "created_at int"}, 1, false},
		{"repositories", []string{
			"id int", "account text", "region text", "name text", "created_at int", "mutability text", "mutability_filters text",
			"scan_on_push int", "encryption text", "kms_key text", "policy text", "lifecycle text", "lifecycle_evaluated_at int",
		}, 1, true},
		{"repository_tags", []string{"repository_id int", "key text", "value text"}, 2, false},
		{"images", []string{
			"id int", "repository_id int", "digest text", "media_type text", "artifact_type text", "subject text", "size int",
			"manifest_size int", "pushed_at int", "pulled_at int", "manifest bytes",
		}, 1, true},
		{"tags", []string{"repository_id int", "name text", "image_id int", "updated_at int"}, 2, false},
		{"image_references", []string{"image_id int", "kind text", "digest text", "repository_id int", "media_type text"}, 3, false},
		{"blobs", []string{
			"id int", "domain text", "digest text", "size int", "created_at int", "location text", "data_key int", "verified_at int", "damaged int",
		}, 1, true},
		{"repository_blobs", []string{"repository_id int", "digest text", "blob_id int", "leased_at int"}, 2, false},
		{"cache_rules", []string{
			"account text", "region text", "prefix text", "upstream_url text", "upstream_registry text", "upstream_prefix text",
			"credential_arn text", "custom_role_arn text", "created_at int", "updated_at int",
		}, 3, false},
		{"data_keys", []string{"id int", "domain text", "kms_key text", "wrapped bytes", "created_at int"}, 1, true},
		{"kms_keys", []string{
			"arn text", "account text", "region text", "key_id text", "manager text", "description text", "key_usage text",
			"key_spec text", "state text", "deletion_days int", "deletion_at int", "policy text", "rotation_days int",
			"rotation_at int", "tags text", "created_at int",
		}, 1, false},
		{"kms_key_versions", []string{"number int", "id text", "arn text", "rotation text", "wrapped bytes", "created_at int"}, 1, true},
		{"kms_aliases", []string{"account text", "region text", "name text", "arn text", "created_at int", "updated_at int"}, 3, false},
	}
}

// tablesOf5 are those that version 5 added. Sessions are left out.
func tablesOf5() []Table {
	return []Table{
		{"accounts", []string{"id text", "created_at int"}, 1, false},
		{"iam_principals", []string{
			"id text", "kind text", "account text", "name text", "path text", "description text", "trust_policy text",
			"max_session int", "boundary text", "tags text", "created_at int",
		}, 1, false},
		{"iam_inline_policies", []string{"principal_id text", "name text", "document text"}, 2, false},
		{"iam_policies", []string{
			"arn text", "id text", "account text", "name text", "path text", "description text", "default_version int",
			"last_version int", "tags text", "created_at int", "updated_at int",
		}, 1, false},
		{"iam_policy_versions", []string{"arn text", "number int", "document text", "created_at int"}, 2, false},
		{"iam_attachments", []string{"principal_id text", "arn text"}, 2, false},
		{"iam_oidc_providers", []string{
			"arn text", "account text", "url text", "client_ids text", "thumbprints text", "tags text", "created_at int",
		}, 1, false},
	}
}

// tablesOf6 are those that version 6 added.
func tablesOf6() []Table {
	return []Table{
		{"creation_templates", []string{
			"account text", "region text", "prefix text", "description text", "encryption text", "kms_key text", "resource_tags text",
			"mutability text", "mutability_filters text", "policy text", "lifecycle text", "applied_for text", "custom_role_arn text",
			"created_at int", "updated_at int",
		}, 3, false},
		{"image_scans", []string{
			"image_id int", "scan_type text", "status text", "description text", "reason text", "requested_at int",
		}, 2, false},
		{"replication_backfills", []string{
			"id text", "account text", "region text", "destination_account text", "destination_region text", "status text",
			"failure_code text", "total_count int", "completed_count int", "failed_count int", "started_at int", "ended_at int",
		}, 1, false},
	}
}

// tablesOf8 are those that version 8 added.
func tablesOf8() []Table {
	return []Table{{"lifecycle_runs", []string{
		"id int", "repository_id int", "started_at int", "finished_at int", "policy text", "expired int", "archived int",
		"failed int", "bytes int", "report text",
	}, 1, true}}
}

// tablesOf9 are those that version 9 added. Manifests whose blobs are still on
// their way are left out, as uploads are.
func tablesOf9() []Table {
	return []Table{
		{"cached_tags", []string{"repository_id int", "tag text", "digest text", "arriving text", "checked_at int"}, 2, false},
		{"secrets", []string{
			"arn text", "account text", "region text", "name text", "description text", "kms_key text", "tags text",
			"created_at int", "changed_at int", "accessed_at int", "deleted_at int", "delete_at int",
		}, 1, false},
		{"secret_versions", []string{
			"arn text", "id text", "stages text", "kms_key text", "wrapped bytes", "value bytes", "created_at int", "accessed_at int",
		}, 2, false},
	}
}

// tablesOf10 are those that version 10 added. Advisories are left out: they are
// everybody's, and imported again.
func tablesOf10() []Table {
	return []Table{
		{"image_scan_findings", []string{"image_id int", "scan_type text", "findings bytes"}, 2, false},
		{"image_inventories", []string{"image_id int", "inventory bytes", "read_at int"}, 1, false},
		{"image_packages", []string{"ecosystem text", "package text", "image_id int"}, 3, false},
	}
}

// tablesOf15 are those that version 15 added. Events are left out: they are
// about one place and time.
func tablesOf15() []Table {
	return []Table{{"event_findings", []string{
		"sink text", "account text", "region text", "repository text", "digest text", "findings bytes",
	}, 5, false}}
}

// names are the columns without their kinds.
func (t Table) names() []string {
	out := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		out[i], _, _ = strings.Cut(c, " ")
	}
	return out
}

func (t Table) kind(i int) string {
	_, kind, _ := strings.Cut(t.Columns[i], " ")
	return kind
}

// cells are places for one row.
func (t Table) cells() []any {
	out := make([]any, len(t.Columns))
	for i := range out {
		switch t.kind(i) {
		case "int":
			out[i] = new(int64)
		case "text":
			out[i] = new(string)
		default:
			out[i] = new([]byte)
		}
	}
	return out
}

// dumpPage bounds what a page of a dump holds.
const dumpPage = 200

// Dump calls fn with every row of a table in the order of its key, as a JSON
// array with one value for each column; bytes are base64.
func (tx *Tx) Dump(t Table, fn func(row []byte) error) error {
	key := t.names()[:t.Key]
	order := strings.Join(key, ", ")
	query := `SELECT ` + strings.Join(t.names(), ", ") + ` FROM ` + t.Name
	var after []any
	for {
		where := ""
		if after != nil {
			where = ` WHERE (` + order + `) > (` + placeholders(1, t.Key) + `)`
		}
		page, err := list(tx, func(s scanner) ([]any, error) {
			row := t.cells()
			return row, s.Scan(row...)
		}, fmt.Sprintf(`%s%s ORDER BY %s LIMIT %d`, query, where, order, dumpPage), after...)
		if err != nil {
			return fmt.Errorf("dump the table %s: %w", t.Name, err)
		}
		for _, row := range page {
			text, err := json.Marshal(row)
			if err != nil {
				return err
			}
			if err := fn(text); err != nil {
				return err
			}
		}
		if len(page) < dumpPage {
			return nil
		}
		after = nil
		for _, v := range page[len(page)-1][:t.Key] {
			switch v := v.(type) {
			case *int64:
				after = append(after, *v)
			case *string:
				after = append(after, *v)
			}
		}
	}
}

// Row reads one row that Dump gave, by column.
func (t Table) Row(text []byte) (map[string]any, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil || len(raw) != len(t.Columns) {
		return nil, fmt.Errorf("a row of the table %s has not the form of %d columns", t.Name, len(t.Columns))
	}
	out := map[string]any{}
	for i, name := range t.names() {
		cell := t.cells()[i]
		if err := json.Unmarshal(raw[i], cell); err != nil {
			return nil, fmt.Errorf("the column %s of a row of the table %s is not of kind %s", name, t.Name, t.kind(i))
		}
		switch v := cell.(type) {
		case *int64:
			out[name] = *v
		case *string:
			out[name] = *v
		case *[]byte:
			out[name] = *v
			if *v == nil {
				out[name] = []byte{}
			}
		}
	}
	return out, nil
}

// A Loader is a [Backend] that needs help to load rows with their numbers.
type Loader interface {
	// Overriding stands between the columns and the values of an INSERT that
	// gives a numbered column its value.
	Overriding() string
	// Continue makes new numbers of a column come after those that are there.
	Continue(q Querier, table, column string) error
}

// Load inserts a row that Dump gave.
func (tx *Tx) Load(t Table, text []byte) error {
	row, err := t.Row(text)
	if err != nil {
		return err
	}
	return tx.LoadRow(t, row)
}

// LoadRow inserts a row that [Table.Row] gave.
func (tx *Tx) LoadRow(t Table, row map[string]any) error {
	args := make([]any, 0, len(t.Columns))
	for _, name := range t.names() {
		args = append(args, row[name])
	}
	overriding := ""
	if l, ok := tx.backend.(Loader); ok && t.Identity {
		overriding = l.Overriding()
	}
	err := tx.exec(`INSERT INTO `+t.Name+` (`+strings.Join(t.names(), ", ")+`)`+overriding+
		` VALUES (`+placeholders(1, len(t.Columns))+`)`, args...)
	if err != nil {
		return fmt.Errorf("load a row of the table %s: %w", t.Name, err)
	}
	return nil
}

// Loaded ends the loading of a table.
func (tx *Tx) Loaded(t Table) error {
	if l, ok := tx.backend.(Loader); ok && t.Identity {
		return l.Continue(tx.q, t.Name, t.names()[0])
	}
	return nil
}

// IsEmpty tells whether a table has no row.
func (tx *Tx) IsEmpty(t Table) (bool, error) {
	some, err := get(tx, scanBool, `SELECT EXISTS (SELECT 1 FROM `+t.Name+`)`)
	return !some, err
}
