// Package scan finds the vulnerabilities of images: it takes scans out of the
// queue that package registry fills, reads the packages of each image in a
// process of its own (package worker), and asks the advisories in the database
// (package vulndb) about them.
//
// # Guarantees
//
//   - Pushes and requests never wait for it: they write a row, and it looks.
//   - A scan ends once: as COMPLETE (ACTIVE, when it is continuous), or as
//     FAILED or UNSUPPORTED_IMAGE with a reason. One that is interrupted, or
//     whose bytes cannot be read for now, is begun again, [maxAttempts] times.
//   - The packages of an image are read once; what new advisories say about them
//     is found without its layers.
package scan
