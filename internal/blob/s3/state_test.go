package s3

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/blob/blobtest"
)

func tag(i int) string { return fmt.Sprintf(`"%032x"`, i+1) }

func TestTheMostPartsFit(t *testing.T) {
	var largest int64
	s := state{upload: upload{id: strings.Repeat("u", maxUploadID), mark: newMark()}, stale: newMark()}
	for n := 1; n <= maxParts; n++ {
		if n > 1 && partSize(n) < partSize(n-1) || partSize(n) < 5<<20 || partSize(n) > 5<<30 {
			t.Fatalf("part %d has %d bytes", n, partSize(n))
		}
		largest += partSize(n)
		s.upload.parts = append(s.upload.parts, part{tag(n), uint32(n)})
	}
	if largest < 52_000<<20 || maxParts > 10_000 {
		t.Errorf("%d parts hold %d MiB", maxParts, largest>>20)
	}
	s.upload.size, s.tail = largest, tail{mark: newMark(), size: 1, part: part{tag(0), 1}}
	b, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > maxState {
		t.Errorf("the state has %d bytes", len(b))
	}
	if got, err := decodeState(b); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("the state of the most parts is read as another: %v", err)
	}
	for i := range s.upload.parts {
		s.upload.parts[i].etag = strings.Repeat("e", 64)
	}
	if _, err := s.encode(); err == nil {
		t.Error("a state of more than 128 KiB was written")
	}
}

func TestStatesComeBack(t *testing.T) {
	parts := rapid.Custom(func(t *rapid.T) part {
		etag := rapid.OneOf(rapid.Map(rapid.Int(), func(i int) string { return fmt.Sprintf(`"%032x"`, uint64(i)) }),
			rapid.StringMatching(`"[a-zA-Z0-9-]{1,60}"`)).Draw(t, "etag")
		return part{etag, rapid.Uint32().Draw(t, "crc")}
	})
	marks := rapid.StringMatching(`[a-z0-9]{1,32}`)
	rapid.Check(t, func(t *rapid.T) {
		var s state
		if rapid.Bool().Draw(t, "stale") {
			s.stale = marks.Draw(t, "mark")
		}
		if rapid.Bool().Draw(t, "tail") {
			s.tail = tail{marks.Draw(t, "mark"), rapid.Bool().Draw(t, "final"), parts.Draw(t, "part"), rapid.Int64Range(0, 1<<30).Draw(t, "size")}
		}
		if rapid.Bool().Draw(t, "upload") {
			s.upload = upload{id: rapid.StringN(1, 100, 400).Draw(t, "id"), mark: marks.Draw(t, "mark"), bare: rapid.Bool().Draw(t, "bare")}
			if s.upload.parts = rapid.SliceOfN(parts, 0, 20).Draw(t, "parts"); len(s.upload.parts) > 0 {
				s.upload.size = rapid.Int64Range(1, 1<<40).Draw(t, "size")
			} else {
				s.upload.parts = nil
			}
		}
		b, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeState(b); err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("%+v comes back as %+v, %v", s, got, err)
		}
		if _, err := decodeState(b[:len(b)-1]); err == nil {
			t.Fatal("a state that was cut is read")
		}
		if _, err := decodeState(append(b, 0)); err == nil {
			t.Fatal("a state with more behind it is read")
		}
	})
}

func FuzzState(f *testing.F) {
	for _, s := range []state{
		{}, {tail: tail{mark: "m", final: true, size: 3, part: part{tag(1), 7}}},
		{upload: upload{id: "u", mark: "m", size: 5 << 20, parts: []part{{tag(2), 1}, {`"x-1"`, 2}}}, stale: "s"},
	} {
		b, err := s.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil || len(b) == 0 {
			return
		}
		again, err := s.encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is read as %+v and written as %x (%v)", b, s, again, err)
		}
	})
}

// TestBuffer: what goes in comes out, from any place and twice, and its sum is that of the bytes.
func TestBuffer(t *testing.T) {
	var p pool
	for _, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 5} {
		want := blobtest.Bytes(size)
		written, filled := &buffer{pool: &p}, &buffer{pool: &p}
		for rest := want; len(rest) > 0; {
			n := written.write(rest[:min(len(rest), 7001)], int64(size))
			rest = rest[n:]
		}
		if n := written.write([]byte("more"), int64(size)); n != 0 {
			t.Errorf("%d bytes beyond the limit", n)
		}
		if err := filled.fill(bytes.NewReader(want), int64(size)); err != nil {
			t.Fatal(err)
		}
		if err := (&buffer{pool: &p}).fill(bytes.NewReader(want), int64(size)+1); err == nil {
			t.Error("a short reader fills a buffer")
		}
		for _, b := range []*buffer{written, filled} {
			r := b.reader()
			for _, at := range []int{0, size / 2, size, 0} {
				if _, err := r.Seek(int64(at), io.SeekStart); err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want[at:]) {
					t.Errorf("%d bytes from %d differ (%v)", size, at, err)
				}
			}
			if sum := crc32.Checksum(want, crc32.MakeTable(crc32.Castagnoli)); b.checksum() != sum {
				t.Errorf("the checksum of %d bytes is wrong", size)
			}
			b.free()
		}
	}
}
