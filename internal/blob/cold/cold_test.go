package cold_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/blob/blobtest"
	"berth/internal/blob/cold"
	"berth/internal/blob/file"
)

// keys derives everything from the label: enough to tell files apart.
type keys struct{}

func (keys) Sealing(context.Context, string) (int64, error) { return 7, nil }

func (keys) Derive(_ context.Context, domain string, dataKey int64, label string, n int) ([]byte, error) {
	b := make([]byte, n)
	copy(b, fmt.Sprintf("%s%d%s", label[max(0, len(label)-14):], dataKey, domain))
	return b, nil
}

func open(t testing.TB, dir string) *file.Store {
	t.Helper()
	s, err := file.Open(file.System{}, dir, keys{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSuite: what is not moved is as in the main store.
func TestSuite(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, blobtest.Backend{Fresh: func(t *testing.T) func(*testing.T) blob.Store {
		main, second := t.TempDir(), t.TempDir()
		return func(t *testing.T) blob.Store { return cold.New(open(t, main), open(t, second)) }
	}, InState: 64 << 10})
}

// text is what compresses well.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "usr/lib/package-%d/file-%d: some text that comes again\n", r.IntN(1000), r.IntN(1000))
	}
	return b.Bytes()[:n]
}

// noise is what does not.
func noise(n int) []byte {
	b, r := make([]byte, n), rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func write(t testing.TB, s blob.Store, b []byte, pack, second bool) blob.Copy {
	t.Helper()
	c, err := cold.Write(t.Context(), s, cold.Spec{Domain: "d", Digest: digest.FromBytes(b), Size: int64(len(b)), Pack: pack, Cold: second}, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestMovedCopies: wherever and however a copy lies, a reader gets what was
// pushed, from anywhere in it.
func TestMovedCopies(t *testing.T) {
	t.Parallel()
	dirs := map[bool]string{false: t.TempDir(), true: t.TempDir()}
	s := cold.New(open(t, dirs[false]), open(t, dirs[true]))
	for _, size := range []int{0, 1, 1000, 300_000, 3 << 20} {
		for _, pack := range []bool{false, true} {
			for _, second := range []bool{false, true} {
				b := text(size)
				c := write(t, s, b, pack, second)
				if c.Size != int64(size) || c.Cold != second || (c.Packed > 0) != pack {
					t.Errorf("the copy of %d bytes is %+v", size, c)
				}
				if pack && size > 1000 && c.Packed > int64(size)/3 {
					t.Errorf("%d bytes of text take %d", size, c.Packed)
				}
				if n := files(t, dirs[second]); n != 1 {
					t.Errorf("%d files where the copy should be", n)
				}
				if n := files(t, dirs[!second]); n != 0 {
					t.Errorf("%d files in the other store", n)
				}
				readsAs(t, s, c, b)
				listed := 0
				err := s.List(t.Context(), func(o blob.Object) error {
					listed++
					if o.ID != c.ID || o.Cold != second || o.Staged {
						t.Errorf("listed %+v for %+v", o, c)
					}
					return s.Remove(t.Context(), o)
				})
				if err != nil || listed != 1 {
					t.Errorf("listed %d objects: %v", listed, err)
				}
				if _, err := s.Open(t.Context(), c); !errors.Is(err, blob.ErrNotFound) {
					t.Errorf("a removed copy: %v", err)
				}
				c = write(t, s, b, pack, second)
				if err := s.Delete(t.Context(), c); err != nil {
					t.Error(err)
				}
				if _, err := s.Open(t.Context(), c); !errors.Is(err, blob.ErrNotFound) {
					t.Errorf("a deleted copy: %v", err)
				}
			}
		}
	}
}

func files(t testing.TB, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func readsAs(t testing.TB, s blob.Store, c blob.Copy, want []byte) {
	t.Helper()
	r, err := s.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Size() != int64(len(want)) {
		t.Errorf("size %d, want %d", r.Size(), len(want))
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, want %d: %v", len(got), len(want), err)
	}
	for _, at := range []int64{0, int64(len(want)) / 2, int64(len(want)) / 3, int64(len(want)) - 1, int64(len(want)), int64(len(want)) + 5} {
		if at < 0 {
			continue
		}
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		rest := want[min(at, int64(len(want))):]
		part, err := io.ReadAll(io.LimitReader(r, 70_000))
		if err != nil || !bytes.Equal(part, rest[:min(len(rest), 70_000)]) {
			t.Errorf("from byte %d: %d bytes, %v", at, len(part), err)
		}
	}
	if end, err := r.Seek(-1, io.SeekEnd); len(want) > 0 && (err != nil || end != int64(len(want))-1) {
		t.Errorf("seek from the end: %d, %v", end, err)
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("a seek before the start was taken")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// raw is a store that gives any bytes as a copy.
type raw struct {
	blob.Store
	b   []byte
	err error // instead of the last byte
}

type rawReader struct {
	*bytes.Reader
	err error
}

func (r raw) Open(context.Context, blob.Copy) (blob.Reader, error) {
	return &rawReader{bytes.NewReader(r.b), r.err}, nil
}

func (r *rawReader) Close() error { return nil }

func (r *rawReader) Read(p []byte) (int, error) {
	if r.err != nil && r.Len() == 1 {
		return 0, r.err
	}
	return r.Reader.Read(p[:min(len(p), max(1, r.Len()-1))])
}

// TestDamagedPack: a compressed copy that is not what was written is damage and
// never other bytes; a store that fails is no damage.
func TestDamagedPack(t *testing.T) {
	t.Parallel()
	want := text(200_000)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	whole := enc.EncodeAll(want, nil)
	down := errors.New("down")
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, tt := range map[string]struct {
		in   raw
		size int
		want error
	}{
		"whole":           {raw{b: whole}, len(want), nil},
		"cut":             {raw{b: whole[:len(whole)-20]}, len(want), blob.ErrDamaged},
		"without its end": {raw{b: whole[:len(whole)-1]}, len(want), blob.ErrDamaged},
		"changed":         {raw{b: flipped}, len(want), blob.ErrDamaged},
		"shorter":         {raw{b: enc.EncodeAll(want[:1000], nil)}, len(want), blob.ErrDamaged},
		"longer":          {raw{b: whole}, len(want) - 1, blob.ErrDamaged},
		"no zstd":         {raw{b: want}, len(want), blob.ErrDamaged},
		"empty":           {raw{}, len(want), blob.ErrDamaged},
		"store fails":     {raw{b: whole, err: down}, len(want), down},
	} {
		r, err := cold.New(tt.in, nil).Open(t.Context(), blob.Copy{Domain: "d", ID: "i", Size: int64(tt.size), Packed: int64(len(tt.in.b) + 1)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if !errors.Is(err, tt.want) || (tt.want == down && errors.Is(err, blob.ErrDamaged)) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if len(got) > tt.size || !bytes.Equal(got, want[:len(got)]) || (tt.want == nil && len(got) != tt.size) {
			t.Errorf("%s: gave %d bytes", name, len(got))
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestWriteRefuses: bytes that are not what the row says become no copy.
func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := cold.New(open(t, dir), nil)
	b := text(200_000)
	for name, spec := range map[string]cold.Spec{
		"other digest": {Domain: "d", Digest: digest.FromString("x"), Size: int64(len(b)), Pack: true},
		"other size":   {Domain: "d", Digest: digest.FromBytes(b), Size: 5},
	} {
		if _, err := cold.Write(t.Context(), s, spec, bytes.NewReader(b)); !errors.Is(err, cold.ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("broken")
	spec := cold.Spec{Domain: "d", Digest: digest.FromBytes(b), Size: int64(len(b)), Pack: true}
	if _, err := cold.Write(t.Context(), s, spec, io.MultiReader(bytes.NewReader(b[:9999]), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
	if n := files(t, dir); n != 0 {
		t.Errorf("%d files are left", n)
	}
	spec.Cold = true
	if _, err := cold.Write(t.Context(), s, spec, bytes.NewReader(b)); !errors.Is(err, blob.ErrUnavailable) || !strings.Contains(err.Error(), "--archive-blobs") {
		t.Errorf("without a second store: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestWorth measures samples from all over a layer, and reads no more than a MiB.
func TestWorth(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(text(20 << 20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		b    []byte
		want bool
	}{
		"text":                    {text(20_000), true},
		"much text":               {text(5 << 20), true},
		"gzip":                    {zipped.Bytes(), false},
		"noise":                   {noise(3 << 20), false},
		"nothing":                 {nil, false},
		"one byte":                {[]byte{1}, false},
		"text in front of noise":  {append(text(300<<10), noise(9<<20)...), true},
		"little text, much noise": {append(text(20<<10), noise(9<<20)...), false},
		"noise in front of text":  {append(noise(300<<10), text(9<<20)...), true},
	} {
		r := &counting{Reader: bytes.NewReader(tt.b)}
		got, err := cold.Worth(r, int64(len(tt.b)))
		if err != nil || got != tt.want {
			t.Errorf("%s: %t, %v", name, got, err)
		}
		if r.n > 1<<20 {
			t.Errorf("%s: read %d bytes", name, r.n)
		}
	}
	if _, err := cold.Worth(bytes.NewReader(text(10)), 20); err == nil {
		t.Error("bytes that are missing are no error")
	}
}

type counting struct {
	*bytes.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// BenchmarkPack compresses the file that PACK names, or text.
func BenchmarkPack(b *testing.B) {
	in := text(32 << 20)
	if path := os.Getenv("PACK"); path != "" {
		var err error
		if in, err = os.ReadFile(path); err != nil {
			b.Fatal(err)
		}
	}
	s := cold.New(open(b, b.TempDir()), nil)
	worth, err := cold.Worth(bytes.NewReader(in), int64(len(in)))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		c := write(b, s, in, true, false)
		b.ReportMetric(100*float64(c.Packed)/float64(c.Size), "%kept")
		if err := s.Delete(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("judged by its samples to be worth it: %t", worth)
}
