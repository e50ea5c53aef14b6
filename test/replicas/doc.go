// Package replicas tests several servers on one PostgreSQL database and one S3
// bucket, as real processes: what one begins another finishes, any of them may
// be killed, and both stores may go away for a while.
package replicas
