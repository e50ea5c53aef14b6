// Package docs checks that the documents are true: links lead somewhere, the translations say as much as the originals,
// numbers agree with the code, commands and flags exist, and the first commands of the README do what it shows.
//
// It holds tests only.
package docs
