package testkit

import "syscall"

// keepsAttributes tells whether files of a directory can carry extended attributes of users.
func keepsAttributes(dir string) bool {
	return syscall.Setxattr(dir, "user.berth-test", []byte("x"), 0) == nil
}
