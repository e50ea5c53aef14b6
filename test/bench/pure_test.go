package main

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPercentileAndMedian(t *testing.T) {
	for _, c := range []struct {
		values           []float64
		median, p50, p99 float64
	}{
		{[]float64{3}, 3, 3, 3},
		{[]float64{4, 1}, 2.5, 1, 4},
		{[]float64{9, 1, 5}, 5, 5, 9},
	} {
		if m, p, q := median(c.values), percentile(c.values, 0.5), percentile(c.values, 0.99); m != c.median || p != c.p50 || q != c.p99 {
			t.Errorf("%v: median %v, p50 %v, p99 %v, want %v, %v, %v", c.values, m, p, q, c.median, c.p50, c.p99)
		}
	}
	if !math.IsNaN(median(nil)) || !math.IsNaN(percentile(nil, 0.5)) {
		t.Error("no values have a median or a percentile")
	}
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 1e6), 1, 50).Draw(t, "values")
		p := rapid.Float64Range(0, 1).Draw(t, "p")
		v, below := percentile(values, p), 0
		for _, o := range values {
			if o <= v {
				below++
			}
		}
		if !slices.Contains(values, v) || float64(below) < p*float64(len(values)) {
			t.Errorf("percentile %v of %v is %v", p, values, v)
		}
	})
}

func TestRatiosAreRoundByRound(t *testing.T) {
	if got := ratios([]float64{10, 20, 30}, []float64{5, 0, 10}); !slices.Equal(got, []float64{2, 3}) {
		t.Errorf("ratios = %v", got)
	}
	if got := ratios([]float64{10, 20}, []float64{5}); !slices.Equal(got, []float64{2}) {
		t.Errorf("ratios of unequal rounds = %v", got)
	}
}

func TestTraceHasItsShape(t *testing.T) {
	shape := traceShape{seed: 1, images: 200, operations: 20_000, clients: 1}
	tr := shape.trace()
	if !reflect.DeepEqual(tr, shape.trace()) {
		t.Error("the same shape gives two traces")
	}
	if other := (traceShape{seed: 2, images: 200, operations: 20_000, clients: 1}).trace(); reflect.DeepEqual(tr, other) {
		t.Error("the seed changes nothing")
	}
	layers, small := 0, 0
	for _, sizes := range tr.images {
		for _, n := range sizes {
			if n < kib || n > 16*mib {
				t.Fatalf("a layer has %d bytes", n)
			}
			layers++
			if n < mib {
				small++
			}
		}
	}
	if share := float64(small) / float64(layers); share < 0.58 || share > 0.72 {
		t.Errorf("%.2f of the layers are small", share)
	}
	count, first := map[operation]int{}, map[int]int{}
	for _, s := range tr.steps {
		if s.layer >= len(tr.images[s.image]) {
			t.Fatalf("step %+v names a layer that is not there", s)
		}
		count[s.operation]++
		first[s.image]++
	}
	for op, want := range map[operation]float64{getLayer: 0.7, getManifest: 0.2, headManifest: 0.05, pushLayer: 0.05} {
		if share := float64(count[op]) / float64(len(tr.steps)); math.Abs(share-want) > 0.02 {
			t.Errorf("%.3f of the steps are operation %d, not about %.2f", share, op, want)
		}
	}
	if top := float64(first[0]) / float64(len(tr.steps)); top < 0.1 {
		t.Errorf("the most popular image gets %.2f of the operations", top)
	}
}

func TestParsePeers(t *testing.T) {
	peers, err := parsePeers("zot = ./zot.sh {dir} {port};\n a='x y' \"--addr={addr}\" '' ;b=sh -c 'one; two {port}'")
	want := []peer{
		{"zot", []string{"./zot.sh", "{dir}", "{port}"}},
		{"a", []string{"x y", "--addr={addr}", ""}},
		{"b", []string{"sh", "-c", "one; two {port}"}},
	}
	if err != nil || !reflect.DeepEqual(peers, want) {
		t.Errorf("peers = %q, %v", peers, err)
	}
	if none, err := parsePeers(" \n; "); err != nil || len(none) != 0 {
		t.Errorf("no peers = %q, %v", none, err)
	}
	for text, part := range map[string]string{
		"zot":                     "is not name=command",
		"=x {port}":               "is not name=command",
		"x y=x {port}":            "is not name=command",
		"a=":                      "has no command",
		"a=x 'y {port}":           "quote is not closed",
		"a=x":                     "neither {port} nor {addr}",
		"a=x {port}; a=y {port}":  "a name of its own",
		"distribution=x {port}":   "a name of its own",
		"berth=x --listen {addr}": "a name of its own",
	} {
		if _, err := parsePeers(text); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", text, err, part)
		}
	}
}

func TestFillPlaceholders(t *testing.T) {
	got, err := fill([]string{"x", "--dir={dir}/data", "{addr}", "{port}", "{other}"}, "/d", "127.0.0.1:5001")
	if want := []string{"x", "--dir=/d/data", "127.0.0.1:5001", "5001", "{other}"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("filled %q, %v", got, err)
	}
}

func TestProcFiles(t *testing.T) {
	// The name holds what could be taken for the fields after it.
	stat := "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20"
	if d, err := parseStat([]byte(stat)); err != nil || d != 2*time.Second {
		t.Errorf("CPU time = %v, %v", d, err)
	}
	if _, err := parseStat([]byte("42 (a) S 1")); err == nil {
		t.Error("a short line is taken")
	}
	if n, err := parseStatus("Name:\tx\nVmHWM:\t   12 kB\n"); err != nil || n != 12*kib {
		t.Errorf("peak = %d, %v", n, err)
	}
	if _, err := parseStatus("Name:\tx\n"); err == nil {
		t.Error("a status without VmHWM is taken")
	}
}

func TestBudget(t *testing.T) {
	b := budget{items: 10, time: time.Second, amount: 5}
	for _, c := range []struct {
		i      int
		time   time.Duration
		amount float64
		spent  bool
	}{
		{0, time.Hour, 100, false}, {1, 0, 0, false}, {10, 0, 0, true}, {1, time.Second, 0, true}, {1, 0, 5, true},
	} {
		if got := b.spent(c.i, c.time, c.amount); got != c.spent {
			t.Errorf("%+v: %t", c, got)
		}
	}
	if (budget{}).spent(1e9, time.Hour, 1e9) {
		t.Error("no limit is a limit")
	}
}

func TestClientBound(t *testing.T) {
	for _, c := range []struct {
		server, client float64
		clients        int
		want           bool
	}{
		{0.5, 0.5, 8, false}, // the machine has time left
		{1.4, 0.6, 8, false}, // the server takes most of it
		{0.6, 1.3, 8, true},
		{0.2, 0.95, 1, true}, // one goroutine cannot take more
	} {
		if got := clientBound(sample{Seconds: 1, ServerCPU: c.server, ClientCPU: c.client}, 2, c.clients); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

func TestShareOfTheLimit(t *testing.T) {
	l := limits{Disk: 1000, Fsync4: 100, Requests: 2000, Bytes: 500}
	s := sample{Rate: 250, Requests: 400, Seconds: 2}
	for kind, want := range map[limitKind]float64{byDisk: 0.25, byFsync: 0.5, byBytes: 0.5, byRequests: 0.1} {
		if got := l.share(kind, s); got != want {
			t.Errorf("%s: %v, want %v", kind, got, want)
		}
	}
}

func TestReportIsComplete(t *testing.T) {
	r := result{
		Subjects: []string{"berth", "zot|2"}, CPUs: 2, Limits: limits{Disk: 100},
		Rows: []row{{"push", "MB/s", byDisk, map[string][]sample{
			"berth": {{Rate: 20, Seconds: 1, ClientBound: true}, {Rate: 30, Seconds: 1, ClientBound: true}},
			"zot|2": {{Rate: 10, Seconds: 1}, {Rate: 10, Seconds: 1}},
		}}},
		Figures: []figure{{Name: "start", Unit: "ms", Values: map[string]float64{"berth": 12}, Remarks: []string{"warm"}}},
	}
	var text, markdown strings.Builder
	if err := r.text(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.markdown(&markdown); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2.50 (2.00 3.00)", "25 % disk", "the client is the limit", "12.00"} {
		if !strings.Contains(text.String(), want) || !strings.Contains(markdown.String(), want) {
			t.Errorf("%q is missing in\n%s\n%s", want, &text, &markdown)
		}
	}
	for line := range strings.Lines(markdown.String()) {
		if strings.HasPrefix(line, "| push | MB/s") && strings.Count(line, "|") != 7 {
			t.Errorf("the row has another number of cells than the head: %s", line)
		}
	}
	if !strings.Contains(markdown.String(), `zot\|2`) {
		t.Error("a name with a bar breaks the table")
	}
}

func TestLayersAreTheirOwn(t *testing.T) {
	s := newSource()
	for _, size := range []int64{1, tailSize, tailSize + 1, kib, mib + tailSize, 3*mib + 5} {
		a, err := s.layer(size)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.layer(size)
		if err != nil {
			t.Fatal(err)
		}
		if a.digest == b.digest {
			t.Errorf("two layers of %d bytes are the same", size)
		}
		for _, l := range []blob{a, b} {
			v := l.digest.Verifier()
			var n counter
			if err := s.write(teeWriter{v, &n}, l); err != nil {
				t.Fatal(err)
			}
			if !v.Verified() || int64(n) != l.size || l.size != max(size, tailSize) {
				t.Errorf("%s of %d bytes: %d were written, verified: %t", l.digest, l.size, n, v.Verified())
			}
		}
	}
}

func TestDistinctManifests(t *testing.T) {
	s := newSource()
	img, err := s.image(kib)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range 3 {
		m := distinct(img.manifest.end, i)
		if want := fmt.Sprintf(`{"annotations":{"n":"%d"},"schemaVersion":2`, i); !strings.HasPrefix(string(m.end), want) {
			t.Errorf("manifest %d is %s", i, m.end)
		}
		seen[m.digest.String()] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d manifests differ, not 3", len(seen))
	}
}
