// Command bench runs the same workloads against Berth and against another
// registry, in turn, on this machine, and prints the ratios.
//
// Absolute numbers say more about the machine than about the registry; the
// ratio of two registries measured in alternating rounds does not. Each round
// uses a new repository, since some registries slow down as one fills up.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 5, "alternating rounds; medians are printed")
	berth := flag.String("berth", "", "path of the berth binary")
	peer := flag.String("distribution", "", "path of the CNCF distribution v3 binary (registry); empty: Berth alone")
	scale := flag.Int("scale", 1, "multiplies the amount of work of each round")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *berth, *peer, *rounds, *scale); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, berth, peer string, rounds, scale int) (err error) {
	if berth == "" {
		return fmt.Errorf("name the binary to measure with -berth")
	}
	var subjects []*subject
	defer func() {
		for _, s := range subjects {
			if serr := s.stop(); serr != nil && err == nil {
				err = serr
			}
		}
	}()
	b, err := startBerth(ctx, berth)
	if err != nil {
		return err
	}
	subjects = append(subjects, b)
	if peer != "" {
		p, err := startDistribution(ctx, peer)
		if err != nil {
			return err
		}
		subjects = append(subjects, p)
	}
	results := map[string]map[string][]float64{} // workload → subject → rates
	for round := range rounds {
		for _, w := range workloads(scale) {
			results[w.name] = orNew(results[w.name])
			for _, s := range subjects {
				rate, err := w.measure(ctx, s, fmt.Sprintf("bench/%s-%d", strings.ToLower(w.name), round))
				if err != nil {
					return fmt.Errorf("%s on %s: %w", w.name, s.name, err)
				}
				results[w.name][s.name] = append(results[w.name][s.name], rate)
			}
		}
	}
	return report(subjects, workloads(scale), results)
}

func orNew(m map[string][]float64) map[string][]float64 {
	if m == nil {
		m = map[string][]float64{}
	}
	return m
}

func report(subjects []*subject, all []workload, results map[string]map[string][]float64) error {
	w := &strings.Builder{}
	fmt.Fprint(w, "workload\tunit")
	for _, s := range subjects {
		fmt.Fprintf(w, "\t%s (min)\tmedian\t(max)", s.name)
	}
	if len(subjects) == 2 {
		fmt.Fprintf(w, "\t%s / %s, median", subjects[0].name, subjects[1].name)
	}
	fmt.Fprintln(w)
	for _, l := range all {
		fmt.Fprintf(w, "%s\t%s", l.name, l.unit)
		for _, s := range subjects {
			r := slices.Sorted(slices.Values(results[l.name][s.name]))
			fmt.Fprintf(w, "\t%.1f\t%.1f\t%.1f", r[0], r[len(r)/2], r[len(r)-1])
		}
		if len(subjects) == 2 {
			fmt.Fprintf(w, "\t%.2f", medianRatio(results[l.name][subjects[0].name], results[l.name][subjects[1].name]))
		}
		fmt.Fprintln(w)
	}
	table := tabwriter.NewWriter(os.Stdout, 2, 4, 2, ' ', 0)
	if _, err := io.WriteString(table, w.String()); err != nil {
		return err
	}
	return table.Flush()
}

// medianRatio compares round by round, so that a drift of the machine hits both.
func medianRatio(a, b []float64) float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// A subject is one running registry.
type subject struct {
	name, endpoint string
	user, password string
	cmd            *exec.Cmd
	dir            string
	// prepare makes a repository, where the registry wants that.
	prepare func(ctx context.Context, repository string) error
}

func (s *subject) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.cmd.Wait() // a registry that was told to stop may say so in its exit code
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		if err := s.cmd.Process.Kill(); err != nil {
			return err
		}
		<-done
	}
	return os.RemoveAll(s.dir)
}
