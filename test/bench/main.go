package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "bare" {
		// What this program starts itself as, for a limit to compare with.
		ready := func(addr string) { fmt.Fprintln(os.Stderr, "listening on http://"+addr) }
		if err := serveBare(os.Args[2], ready); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	berth, distribution, peers string
	quick                      bool
	rounds, tags, images       int
	dir, json, markdown        string
	only                       string
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.berth, "berth", "", "path of the berth binary")
	f.StringVar(&o.distribution, "distribution", "", "path of the CNCF distribution v3 binary (registry)")
	f.StringVar(&o.peers, "peers", "", "other registries: name=command, separated by ; or line ends; {dir}, {port} and {addr} are filled in")
	f.BoolVar(&o.quick, "quick", false, "less than a minute for two registries: to see that everything works")
	f.IntVar(&o.rounds, "rounds", 0, "alternating rounds; medians are printed (5, quick 2)")
	f.IntVar(&o.tags, "tags", 0, "tags of the repository whose pages are measured (100000, quick 1000)")
	f.IntVar(&o.images, "images", 0, "images in the registry whose start is measured (1000000, quick 1000)")
	f.StringVar(&o.dir, "dir", "", "where data directories are made; name a real disk, the system's default may be memory")
	f.StringVar(&o.json, "json", "", "write everything that was measured to this file")
	f.StringVar(&o.markdown, "markdown", "", "write the tables for a document to this file")
	f.StringVar(&o.only, "only", "", "regular expression: the workloads to run; listing, memory and start are names too")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is no option", f.Arg(0))
	}
	if o.berth == "" {
		return o, errors.New("name the binary to measure with -berth")
	}
	return o, nil
}

func (o options) scale() scale {
	sc := fullScale()
	if o.quick {
		sc = quickScale()
	}
	for _, set := range []struct{ to, from *int }{{&sc.rounds, &o.rounds}, {&sc.listing.tags, &o.tags}, {&sc.images, &o.images}} {
		if *set.from > 0 {
			*set.to = *set.from
		}
	}
	return sc
}

func (o options) subjects(src *source) ([]subject, error) {
	out := []subject{berth(o.berth, src)}
	if o.distribution != "" {
		out = append(out, distribution(o.distribution, src))
	}
	peers, err := parsePeers(o.peers)
	for _, p := range peers {
		out = append(out, p.subject(src))
	}
	return out, err
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	src := newSource()
	subjects, err := o.subjects(src)
	if err != nil {
		return err
	}
	if o.dir != "" {
		if o.dir, err = filepath.Abs(o.dir); err != nil {
			return err
		}
		if err := os.MkdirAll(o.dir, 0o700); err != nil {
			return err
		}
	}
	began := time.Now()
	b := bench{scale: o.scale(), subjects: subjects, dirs: &dirs{o.dir}, src: src, only: only.MatchString, bare: bareServer, say: func(format string, a ...any) {
		fmt.Fprintf(os.Stderr, "%5.0f s  "+format+"\n", slices.Concat([]any{time.Since(began).Seconds()}, a)...)
	}}
	b.start = func(ctx context.Context) ([]figure, error) {
		return coldStart(ctx, b.scale, o.berth, src, b.dirs, b.say)
	}
	res, err := b.run(ctx, newResult(o.quick))
	if err != nil {
		return err
	}
	return errors.Join(res.text(out), toFile(o.json, res.json), toFile(o.markdown, res.markdown))
}

// toFile writes a file, when it has a name.
func toFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// A bench is one run.
type bench struct {
	scale    scale
	subjects []subject
	dirs     *dirs
	src      *source
	only     func(name string) bool
	bare     func(ctx context.Context, dir string) (*server, error)
	start    func(ctx context.Context) ([]figure, error)
	say      func(format string, a ...any) // progress
}

func (b bench) run(ctx context.Context, res result) (result, error) {
	for _, s := range b.subjects {
		res.Subjects = append(res.Subjects, s.name)
	}
	var err error
	if res.Limits, err = measureLimits(ctx, b.scale, b.dirs, b.src, b.bare); err != nil {
		return res, fmt.Errorf("measure the limits of the machine: %w", err)
	}
	b.say("the limits of the machine are measured")
	if err := b.running(ctx, &res, nil, b.subjects); err != nil {
		return res, err
	}
	add := func(name string, measure func() ([]figure, error)) error {
		if !b.only(name) {
			return nil
		}
		figures, err := measure()
		res.Figures = append(res.Figures, figures...)
		return err
	}
	if err := add("memory", func() ([]figure, error) { return memory(ctx, b.scale, b.subjects, b.dirs, b.say) }); err != nil {
		return res, err
	}
	return res, add("start", func() ([]figure, error) { return b.start(ctx) })
}

// running starts the subjects one after another, and measures when all run.
func (b bench) running(ctx context.Context, res *result, servers []*server, rest []subject) error {
	if len(rest) > 0 {
		return b.dirs.with(rest[0].name, func(dir string) (err error) {
			s, err := rest[0].start(ctx, dir)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.stop()) }()
			return b.running(ctx, res, append(servers, s), rest[1:])
		})
	}
	all := slices.DeleteFunc(b.scale.workloads(), func(w workload) bool { return !b.only(w.name) })
	var err error
	if len(all) > 0 {
		if res.Rows, err = rounds(ctx, b.scale, servers, all, b.say); err != nil {
			return err
		}
	}
	if b.only("listing") {
		res.Figures, err = listings(ctx, b.scale, servers, b.say)
	}
	return err
}

// dirs makes data directories.
type dirs struct{ parent string }

// with gives fn a new directory and removes it afterwards.
func (d *dirs) with(name string, fn func(dir string) error) error {
	dir, err := os.MkdirTemp(d.parent, "bench-"+regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(name, "-")+"-")
	if err != nil {
		return err
	}
	return errors.Join(fn(dir), os.RemoveAll(dir))
}
