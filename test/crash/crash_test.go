package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/testkit"
	"berth/test/wire"
)

// A chain is one data directory with all the servers that die on it.
type chain struct {
	t       *testing.T
	ctx     context.Context
	data    string
	clients []*client
	strays  int // known objects without a row
	allowed int // more of them that the last kill may have left
	kills   int
	missed  int // moments that did not come
}

func newChain(t *testing.T, clients int) *chain {
	c := &chain{t: t, ctx: t.Context(), data: filepath.Join(t.TempDir(), "data")}
	for i := range clients {
		c.clients = append(c.clients, &client{repository: fmt.Sprintf("app/%d", i), now: state{}})
	}
	return c
}

func (c *chain) must(err error, doing string) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", doing, err)
	}
}

// start runs a server on what there is, and checks all of it.
func (c *chain) start(doing string) *process {
	c.t.Helper()
	p, err := launch(childConfig{Data: c.data})
	c.must(err, doing)
	c.t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // after a failure; it has ended otherwise
	c.must(p.greet(), "restart after "+doing)
	for _, cl := range c.clients {
		cl.Client = p.Client
		c.must(cl.check(c.ctx), "after "+doing)
	}
	a, err := look(c.ctx, c.data, true)
	c.must(err, "look at the stores after "+doing)
	if len(a.stray) > c.strays+c.allowed {
		c.t.Fatalf("after %s %d objects have no row, %d had before:\n%q", doing, len(a.stray), c.strays, a.stray)
	}
	c.strays, c.allowed = len(a.stray), 0
	return p
}

// killed notes the end of a server while some clients were at work.
func (c *chain) killed(p *process, atWork int) {
	c.t.Helper()
	c.must(p.ended(), "end")
	c.kills++
	// Bytes between the store and their row, and a file begun anew beside the old one.
	c.allowed = 2 * atWork
}

// atStep lets a client do a scenario until the server kills itself.
func (c *chain) atStep(s scenario, at kill) {
	c.t.Helper()
	p := c.start("the kill before " + s.name + " " + at.String())
	cl := c.clients[0]
	c.must(ready(c.t, c.ctx, cl), "get ready")
	_, err := p.arm(at)
	c.must(err, "arm")
	switch err := s.run(c.t, c.ctx, cl); {
	case silent(err):
		c.killed(p, 1)
	case err != nil:
		c.t.Fatalf("%s, kill %s: %v", s.name, at, err)
	case p.isDead(time.Second): // right after the last answer
		c.killed(p, 1)
	default:
		c.missed++
		c.must(p.kill(), "end")
	}
}

// count runs a scenario once to its end, and gives the steps that it took.
func (c *chain) count(s scenario) map[string]int {
	c.t.Helper()
	p := c.start("counting")
	c.must(ready(c.t, c.ctx, c.clients[0]), "get ready")
	_, err := p.arm(kill{})
	c.must(err, "arm")
	c.must(s.run(c.t, c.ctx, c.clients[0]), s.name)
	counts, err := p.arm(kill{})
	c.must(err, "count")
	c.must(p.kill(), "end")
	return counts
}

// soil leaves garbage: an image that was deleted, and a blob of no image.
func (c *chain) soil() {
	c.t.Helper()
	p := c.start("collecting")
	cl := c.clients[0]
	c.must(ready(c.t, c.ctx, cl), "get ready")
	image := testkit.RandomImage(c.t, 1, layerSize)
	c.must(cl.pushWhole(c.ctx, cl.tag(), image), "push")
	c.must(cl.deleteImages(c.ctx, image.Digest().String()), "delete")
	c.must(cl.PutBlob(c.ctx, cl.repository, testkit.NewBlob("", []byte(time.Now().String()))), "push a blob")
	c.must(p.kill(), "end")
}

// collect lets a server that collects run to the moment given, or until there
// is nothing to collect any more, and gives the steps that it took.
func (c *chain) collect(at kill) map[string]int {
	c.t.Helper()
	c.must(outlive(c.ctx, c.data), "take over from a collector that died")
	p, err := launch(childConfig{Data: c.data, GC: true, Kill: at})
	c.must(err, "collect")
	c.t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	if at.N > 0 {
		if p.isDead(3 * time.Second) {
			c.killed(p, 0)
		} else {
			c.missed++
			c.must(p.kill(), "end")
		}
		return nil
	}
	c.must(p.greet(), "collect")
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		a, err := look(c.ctx, c.data, false)
		c.must(err, "look at the stores while they are collected")
		if a.trash+a.garbage == 0 {
			break
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("collection leaves %+v", a)
		}
	}
	counts, err := p.arm(kill{})
	c.must(err, "count")
	c.must(p.kill(), "end")
	return counts
}

// finish checks the last kill, collects, and compares the store with the rows.
func (c *chain) finish() {
	c.t.Helper()
	p := c.start("the last kill")
	for _, cl := range c.clients {
		c.must(ready(c.t, c.ctx, cl), "get ready") // so that something must stay
	}
	c.must(p.kill(), "end")
	c.collect(kill{})
	p = c.start("the last collection")
	a, err := look(c.ctx, c.data, true)
	c.must(err, "look at the stores")
	c.must(p.kill(), "end")
	if want := 4 * len(c.clients); a.copies+a.small < want {
		c.t.Errorf("%d copies and %d small blobs are left, the clients' images have at least %d blobs", a.copies, a.small, want)
	}
	if files := countFiles(c.t, c.data); files != a.copies+len(a.stray) {
		c.t.Errorf("the blob store holds %d files, %d copies have rows and %d were left by kills", files, a.copies, len(a.stray))
	}
	c.t.Logf("%d kills, %d moments did not come, %d objects left for an audit, %d copies and %d small blobs in the end", c.kills, c.missed, len(a.stray), a.copies, a.small)
}

func countFiles(t testing.TB, data string) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(data, "blobs"), func(_ string, e os.DirEntry, err error) error {
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

// A point is one kill of one scenario; the scenario without a name is collection.
type point struct {
	scenario scenario
	at       kill
}

// points lists the moments before and after each step that was counted.
func points(s scenario, counts map[string]int) (out []point) {
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for n := 1; n <= counts[name]; n++ {
			out = append(out, point{s, kill{name, n, false}}, point{s, kill{name, n, true}})
		}
	}
	return out
}

// sample picks n of all points evenly, going around when there are fewer.
func sample(all []point, n int) (out []point) {
	for i := range n {
		out = append(out, all[i*max(len(all), n)/n%len(all)])
	}
	return out
}

// maxCollectSteps bounds the kills of one step while collecting: a collector
// with nothing to do goes on taking and giving back its claim.
const maxCollectSteps = 20

func number(t *testing.T, variable string, otherwise int64) int64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", variable, text)
	}
	return n
}

// TestInvariant01_AcknowledgedSurvivesEveryStep kills the server at the steps
// of everything that changes a registry.
func TestInvariant01_AcknowledgedSurvivesEveryStep(t *testing.T) {
	t.Parallel()
	kills := int(number(t, "CRASH_KILLS", 225))
	seed := uint64(number(t, "CRASH_SEED", time.Now().UnixNano()))
	t.Logf("CRASH_SEED=%d", seed)
	begun := time.Now()

	counting := newChain(t, 1)
	var all, gc []point
	for _, s := range scenarios() {
		all = append(all, points(s, counting.count(s))...)
	}
	counting.soil()
	collecting := counting.collect(kill{})
	for name, n := range collecting {
		collecting[name] = min(n, maxCollectSteps)
	}
	gc = points(scenario{}, collecting)
	counting.finish()
	t.Logf("%d moments of requests, %d of collection", len(all), len(gc))

	var total atomic.Int64
	t.Run("kills", func(t *testing.T) {
		run := func(name string, clients int, kill func(c *chain)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := newChain(t, clients)
				kill(c)
				c.finish()
				total.Add(int64(c.kills))
			})
		}
		steps := sample(all, kills*6/10)
		for half := range 2 {
			run(fmt.Sprintf("at steps %d", half), 1, func(c *chain) {
				for i := half; i < len(steps); i += 2 {
					c.atStep(steps[i].scenario, steps[i].at)
				}
			})
		}
		run("while collecting", 1, func(c *chain) {
			for _, at := range sample(gc, kills/10) {
				c.soil()
				c.collect(at.at)
			}
		})
		run("at random times", 3, func(c *chain) {
			for i := range kills / 4 {
				c.atRandom(rand.New(rand.NewPCG(seed, uint64(i))))
			}
		})
		t.Run("at the first start", func(t *testing.T) {
			t.Parallel()
			total.Add(int64(firstStarts(t, kills/10, rand.New(rand.NewPCG(seed, 1<<40)))))
		})
	})
	t.Logf("%d kills in %s", total.Load(), time.Since(begun).Round(time.Second))
	if int(total.Load()) < kills*9/10 {
		t.Errorf("only %d of %d kills happened", total.Load(), kills)
	}
}

// atRandom kills the server from outside while all clients work.
func (c *chain) atRandom(random *rand.Rand) {
	c.t.Helper()
	p := c.start("a random kill")
	images := []testkit.Content{testkit.RandomImage(c.t, 1, 50), testkit.RandomImage(c.t, 1, layerSize), testkit.RandomImage(c.t, 2, 2000)}
	errs := make([]error, len(c.clients))
	var working sync.WaitGroup
	for i, cl := range c.clients {
		own := rand.New(rand.NewPCG(random.Uint64(), uint64(i)))
		working.Go(func() { errs[i] = cl.work(c.ctx, own, images) })
	}
	time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond)
	c.must(p.cmd.Process.Kill(), "kill")
	working.Wait()
	for _, err := range errs {
		if !silent(err) {
			c.t.Fatalf("before a random kill: %v", err)
		}
	}
	c.killed(p, len(c.clients))
}

// firstStarts kills servers that make their data directory, or bring one of the
// first schema up to date: at each step that they report, and at random times,
// which is while the schema is made. The next one finds its way, with one
// master key and one root key, and with the repository that was there.
func firstStarts(t *testing.T, kills int, random *rand.Rand) (killed int) {
	counting := newChain(t, 1)
	p, err := launch(childConfig{Data: counting.data})
	counting.must(err, "start")
	begun := time.Now()
	counting.must(p.greet(), "start")
	took := time.Since(begun)
	counts, err := p.arm(kill{})
	counting.must(err, "count")
	counting.must(p.kill(), "end")
	at := sample(points(scenario{}, counts), kills)
	for i := range kills {
		c := newChain(t, 1)
		cfg := childConfig{Data: c.data}
		if i%4 == 3 {
			older(t, c.data, c.clients[0].repository)
			c.clients[0].now = created()
		}
		if i%2 == 0 {
			cfg.Kill = at[i].at
		}
		p, err := launch(cfg)
		c.must(err, "start")
		if i%2 == 1 {
			time.Sleep(time.Duration(random.Int64N(int64(took))))
			c.must(p.cmd.Process.Kill(), "kill")
		} else if err := p.greet(); err == nil {
			c.must(p.cmd.Process.Kill(), "kill")
			c.kills--
		} else if !errors.Is(err, errDied) && !errors.Is(err, wire.ErrNoAnswer) && !silent(err) {
			t.Fatal(err)
		}
		c.killed(p, 0)
		killed += c.kills
		p = c.start(fmt.Sprintf("a first start that was killed %s", cfg.Kill))
		c.must(ready(t, c.ctx, c.clients[0]), "use a data directory whose first start was killed")
		c.must(p.kill(), "end")
		c.must(c.start("a kill").kill(), "end")
	}
	return killed
}
