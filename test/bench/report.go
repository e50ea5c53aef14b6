package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// A result is everything that a run measured.
type result struct {
	Time     time.Time `json:"time"`
	System   string    `json:"system"`
	CPUs     int       `json:"cpus"`
	Quick    bool      `json:"quick"`
	Subjects []string  `json:"subjects"` // ours first
	Limits   limits    `json:"limits"`
	Rows     []row     `json:"workloads"`
	Figures  []figure  `json:"figures"`
}

func newResult(quick bool) result {
	return result{Time: time.Now().UTC(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(), Quick: quick}
}

func (r result) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// each gives one number of every sample.
func each(samples []sample, of func(sample) float64) []float64 {
	var out []float64
	for _, s := range samples {
		out = append(out, of(s))
	}
	return out
}

func rate(s sample) float64 { return s.Rate }

// cost is CPU milliseconds of the server for each request.
func cost(s sample) float64 { return s.ServerCPU * 1000 / float64(max(s.Requests, 1)) }

// A grid is a table that is ready to be printed.
type grid struct {
	head []string
	rows [][]string
}

// rates has a line for each workload: what each registry did, how they compare,
// and how far from the machine's limit the first of them is.
func (r result) rates() grid {
	g := grid{head: []string{"workload", "unit"}}
	g.head = append(g.head, r.Subjects...)
	for _, peer := range r.Subjects[1:] {
		g.head = append(g.head, r.Subjects[0]+" / "+peer+" (each round)")
	}
	g.head = append(g.head, "of the limit")
	for _, w := range r.Rows {
		line := []string{w.Workload, w.Unit}
		for _, name := range r.Subjects {
			line = append(line, fmt.Sprintf("%.1f", median(each(w.Samples[name], rate))))
		}
		own := w.Samples[r.Subjects[0]]
		for _, peer := range r.Subjects[1:] {
			all := ratios(each(own, rate), each(w.Samples[peer], rate))
			var list []string
			for _, v := range all {
				list = append(list, fmt.Sprintf("%.2f", v))
			}
			line = append(line, fmt.Sprintf("%.2f (%s)", median(all), strings.Join(list, " ")))
		}
		share := median(each(own, func(s sample) float64 { return r.Limits.share(w.Limit, s) }))
		g.rows = append(g.rows, append(line, fmt.Sprintf("%.0f %% %s", share*100, w.Limit)))
	}
	return g
}

// costs has a line for each workload and registry.
func (r result) costs() grid {
	g := grid{head: []string{"workload", "registry", "server CPU ms/request", "item p50 ms", "item p99 ms", "peak RSS MiB", "client share of CPU"}}
	for _, w := range r.Rows {
		for _, name := range r.Subjects {
			samples := w.Samples[name]
			middle := func(of func(sample) float64) float64 { return median(each(samples, of)) }
			share := fmt.Sprintf("%.0f %%", 100*middle(func(s sample) float64 { return s.ClientCPU / (s.Seconds * float64(r.CPUs)) }))
			bound := 0
			for _, s := range samples {
				if s.ClientBound {
					bound++
				}
			}
			if 2*bound > len(samples) {
				share += ", the client is the limit"
			}
			g.rows = append(g.rows, []string{
				w.Workload, name, fmt.Sprintf("%.3f", middle(cost)),
				fmt.Sprintf("%.2f", middle(func(s sample) float64 { return s.P50 })),
				fmt.Sprintf("%.2f", middle(func(s sample) float64 { return s.P99 })),
				fmt.Sprintf("%.0f", middle(func(s sample) float64 { return float64(s.PeakRSS) / mib })), share,
			})
		}
	}
	return g
}

func (r result) figures() grid {
	g := grid{head: append(append([]string{"measure", "unit"}, r.Subjects...), "remarks")}
	for _, f := range r.Figures {
		line := []string{f.Name, f.Unit}
		for _, name := range r.Subjects {
			text := "-"
			if v, ok := f.Values[name]; ok {
				text = fmt.Sprintf("%.2f", v)
			}
			line = append(line, text)
		}
		g.rows = append(g.rows, append(line, strings.Join(f.Remarks, "; ")))
	}
	return g
}

func (r result) limits() grid {
	return grid{[]string{"limit of this machine", "measured"}, [][]string{
		{"SHA-256, a core", fmt.Sprintf("%.2f GB/s", r.Limits.SHA256/1000)},
		{"AES-256-GCM, a core", fmt.Sprintf("%.2f GB/s", r.Limits.AESGCM/1000)},
		{"files of 4 MiB written and flushed, 4 writers", fmt.Sprintf("%.0f MB/s", r.Limits.Disk)},
		{"fsync after 4 KiB, 1 and 4 writers", fmt.Sprintf("%.0f and %.0f /s", r.Limits.Fsync1, r.Limits.Fsync4)},
		{"bare Go server with an HMAC check, 8 clients", fmt.Sprintf("%.0f requests/s", r.Limits.Requests)},
		{"the same, 4 MiB bodies from a file, 4 clients", fmt.Sprintf("%.0f MB/s", r.Limits.Bytes)},
	}}
}

// grids are the tables that have anything in them.
func (r result) grids() []grid {
	var out []grid
	for _, g := range []grid{r.limits(), r.rates(), r.costs(), r.figures()} {
		if len(g.rows) > 0 {
			out = append(out, g)
		}
	}
	return out
}

// text prints the tables for a terminal.
func (r result) text(out io.Writer) error {
	for _, g := range r.grids() {
		w := tabwriter.NewWriter(out, 2, 4, 2, ' ', 0)
		for _, line := range append([][]string{g.head}, g.rows...) {
			if _, err := fmt.Fprintln(w, strings.Join(line, "\t")); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// markdown prints the tables for a document.
func (r result) markdown(out io.Writer) error {
	kind := "full run"
	if r.Quick {
		kind = "quick run: good for seeing that it works, not for quoting"
	}
	if _, err := fmt.Fprintf(out, "Measured on %s, %s, %d CPUs (%s). The load client ran on the same machine; rates are medians.\n",
		r.Time.Format("2 January 2006"), r.System, r.CPUs, kind); err != nil {
		return err
	}
	for _, g := range r.grids() {
		lines := []string{"", markdownRow(g.head), "|" + strings.Repeat("---|", len(g.head))}
		for _, line := range g.rows {
			lines = append(lines, markdownRow(line))
		}
		if _, err := fmt.Fprintln(out, strings.Join(lines, "\n")); err != nil {
			return err
		}
	}
	return nil
}

func markdownRow(cells []string) string {
	escaped := make([]string, len(cells))
	for i, c := range cells {
		escaped[i] = strings.ReplaceAll(c, "|", `\|`)
	}
	return "| " + strings.Join(escaped, " | ") + " |"
}
