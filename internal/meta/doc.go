// Package meta keeps the registry's rows: repositories, images, tags, blob
// membership, upload sessions, cache rules, KMS keys, access keys and settings.
//
// # Guarantees
//
//   - There is one source of truth. Every fact is a row; nothing is derived
//     from file names or kept in a side index that could disagree.
//   - All work happens in a transaction: [DB.View] sees one consistent
//     snapshot, [DB.Update] is serialised with every other Update and is
//     durable (fsynced) when it returns nil. No bytes are streamed while a
//     transaction is open.
//   - A missing row is [ErrNotFound], a violated uniqueness is [ErrExists], a
//     text that no database may hold is [ErrText], a store that cannot be
//     reached is [ErrUnavailable]; everything else is a fault of the store.
//
// One SQL text serves every database. Placeholders are $1…$n, upserts are
// ON CONFLICT, times are integers of microseconds since the Unix epoch (UTC)
// and lists are JSON text, all of which SQLite and PostgreSQL share; what
// differs (opening, migrations, how writes are grouped) lives in the packages
// below this one.
package meta
