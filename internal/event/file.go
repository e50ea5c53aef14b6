package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"berth/internal/meta"
	"berth/internal/registry"
)

// fileSink appends events to a file, one JSON document a line. It opens the file
// anew for each batch, so whoever rotates it renames it and does no more.
type fileSink struct{ path string }

func (f *fileSink) Name() string { return "file:" + f.path }

func (f *fileSink) Batch() int { return 200 }

// Deliver writes all or, as far as the disk lets it, nothing.
func (f *fileSink) Deliver(_ context.Context, events []meta.Event) []error {
	var text bytes.Buffer
	var err error
	for _, e := range events {
		err = errors.Join(err, json.NewEncoder(&text).Encode(registry.EnvelopeOf(e)))
	}
	if err == nil {
		err = f.append(text.Bytes())
	}
	return all(len(events), err)
}

// append writes lines and has them on the disk when it returns nil. A line that
// a crash cut off before is ended first, so that it spoils no other.
func (f *fileSink) append(lines []byte) (err error) {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the file of events: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	last := []byte{'\n'}
	if end > 0 {
		if _, err := file.ReadAt(last, end-1); err != nil {
			return fmt.Errorf("read the end of the file of events: %w", err)
		}
	}
	if last[0] != '\n' {
		lines = append([]byte{'\n'}, lines...)
	}
	if _, err := file.Write(lines); err != nil {
		return errors.Join(fmt.Errorf("write the file of events: %w", err), file.Truncate(end))
	}
	return file.Sync()
}

// all is one result for each of n events.
func all(n int, err error) []error {
	out := make([]error, n)
	for i := range out {
		out[i] = err
	}
	return out
}
