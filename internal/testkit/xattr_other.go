//go:build !linux

package testkit

// keepsAttributes tells whether files of a directory can carry extended attributes of users. Elsewhere than on Linux
// the usual file systems do, and the standard library has no call to ask.
func keepsAttributes(string) bool { return true }
