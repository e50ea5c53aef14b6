// Package postgres keeps the metadata in a PostgreSQL database (12 or later)
// that any number of servers share.
//
// # Guarantees
//
//   - It gives what [meta.Backend] asks for. A view is one snapshot (READ ONLY
//     REPEATABLE READ), an update is SERIALIZABLE: whatever the servers do at
//     the same time, the outcome is that of doing it one after the other.
//   - Updates that meet are run again, a bounded number of times, and so are
//     those that lose their connection before they are committed. An update
//     whose commit was sent and not answered is never run again: it fails with
//     [meta.ErrUnavailable], and its error says that the outcome is unknown.
//   - A database that is gone, that refuses connections or that stopped
//     answering is [meta.ErrUnavailable] within about five seconds, also for
//     the transactions that are running. Once it is back the next transaction
//     succeeds; nothing has to be restarted.
//   - Servers that start at the same time bring the schema up to date once. A
//     schema newer than this program knows is refused.
//   - Errors name the hosts and the database. They never hold the password.
package postgres
