package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"runtime/debug"

	"berth/internal/scan/inventory"
)

// A task is the first line that a child reads. The layers follow it, the
// topmost first, each with exactly as many bytes as it says.
type task struct {
	Layers []taskLayer      `json:"layers"`
	Limits inventory.Limits `json:"limits"`
	Memory int64            `json:"memory"`
}

type taskLayer struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// An answer is what a child writes.
type answer struct {
	Inventory inventory.Inventory `json:"inventory"`
	Failure   string              `json:"failure,omitempty"` // why there is none
}

// maxTask bounds the line of the task: an image has 127 layers at most.
const maxTask = 1 << 20

// Serve is what the child does: it reads one task and the layers from in,
// and writes the packages in them, or why there are none, to out.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	log.SetOutput(io.Discard) // extractors log to it, about bytes of others
	r := bufio.NewReaderSize(in, maxTask)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read the task of a scan: %w", err)
	}
	var t task
	if err := json.Unmarshal(line, &t); err != nil {
		return fmt.Errorf("read the task of a scan: %w", err)
	}
	if err := limitSelf(t.Memory); err != nil {
		return fmt.Errorf("limit what a scan may take: %w", err)
	}
	// The collector works hard before the limit of the system ends the process.
	debug.SetMemoryLimit(t.Memory * 3 / 4)
	inv, err := inventory.Read(ctx, layersOf(t, r), t.Limits)
	a := answer{Inventory: inv}
	if err != nil {
		a = answer{Failure: err.Error()}
	}
	return json.NewEncoder(out).Encode(a)
}

// layersOf gives the layers of a task one after the other. What is left unread
// of one is skipped.
func layersOf(t task, r io.Reader) func() (inventory.Layer, error) {
	var current *io.LimitedReader
	next := 0
	return func() (inventory.Layer, error) {
		if current != nil {
			if _, err := io.Copy(io.Discard, current); err != nil {
				return inventory.Layer{}, err
			}
			if current.N > 0 {
				return inventory.Layer{}, errors.New("the bytes of a layer end too early")
			}
		}
		if next == len(t.Layers) {
			return inventory.Layer{}, io.EOF
		}
		l := t.Layers[next]
		next++
		current = &io.LimitedReader{R: r, N: l.Size}
		return inventory.Layer{Digest: l.Digest, Bytes: current}, nil
	}
}
