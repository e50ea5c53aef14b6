package file

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeback asks the kernel to start writing a part of a file to the disk, and
// does not wait for it (sync_file_range(2)). It promises nothing: what it did
// not do, the fsync does.
func writeback(f *os.File, offset, n int64) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SyncFileRange(int(fd), offset, n, unix.SYNC_FILE_RANGE_WRITE)
	})
}
