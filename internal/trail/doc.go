// Package trail records who asked for what, and what was decided: the audit log.
//
// It guarantees:
//
//   - every request that reaches a door is one line of JSON, also one that was
//     refused before anybody knew who asks;
//   - a line holds no secret: no header but the user agent, no query (which may
//     carry a signature or a ticket), no body;
//   - decisions come from the [access.Authorizer] itself, which [Authorizer] wraps,
//     so that none is made without being recorded;
//   - a line is written whole, by one write, and files are renamed only between
//     lines;
//   - a log that cannot be written is reported in the server's log and stops
//     nobody.
package trail
