package postgres

import "berth/internal/meta"

// Overriding implements [meta.Loader] (PostgreSQL manual, INSERT).
func (*backend) Overriding() string { return " OVERRIDING SYSTEM VALUE" }

// Continue implements [meta.Loader].
func (*backend) Continue(q meta.Querier, table, column string) error {
	var last int64
	return q.QueryRow(`SELECT setval(pg_get_serial_sequence($1, $2), (SELECT COALESCE(MAX(`+column+`), 0) + 1 FROM `+table+`), false)`,
		table, column).Scan(&last)
}
