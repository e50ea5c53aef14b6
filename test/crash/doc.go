// Package crash holds tests only: it kills the server, and it breaks the disk below it.
//
// # Kills
//
// The test binary runs itself again as the server, on a data directory that outlives it. Decorators of the blob store's
// file system and of the database (server.Config) count the steps that the server takes and let SIGKILL end it right
// before or right after a chosen one; no code of the server knows of them. Each scenario runs once to count its steps,
// and then once for every point that the budget allows. Other kills come from outside, at random times while several
// clients work. After each kill the server is started on what is left, and everything is compared with a journal of
// what was acknowledged:
//
//   - every repository is exactly as the last acknowledged request left it, or as the one without an answer would have;
//   - a lifecycle policy took nothing that its preview did not list;
//   - every image pulls byte for byte, and every row has bytes of its digest;
//   - an upload continues at the offset acknowledged, and becomes the blob that was sent;
//   - collection goes on, and in the end the blob store holds the copies that rows name and nothing else, but for what a
//     kill left between bytes and row. There may be two of those for each client that was writing, and no more.
//
// Moves of archived bytes are killed in the same way, at each step of archiving an image and of restoring it: the bytes
// of every row can be read at every moment, and in the end each lies in one place.
//
// CRASH_KILLS sets how many kills there are, CRASH_SEED repeats the random ones of an earlier run.
//
// # Faults
//
// A server of this process works on a file system that is full, fails or loses what it was told to keep, and on a
// database whose commits fail. Every door then says so with a 5xx, nothing of the request is to be seen afterwards, and
// the same push succeeds once the fault is over.
package crash
