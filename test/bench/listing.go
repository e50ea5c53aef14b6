package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// A listingShape says how pages are measured: in a repository with pageSize
// tags, which is one page, and in one with many. Every tag has an image of its
// own in both, so that pages of images are of the same size too.
type listingShape struct {
	tags     int           // in the large repository
	peerTags int           // in that of a peer: some take very long to fill it
	fill     time.Duration // the most that filling may take
	pages    int           // measured of each kind
}

// pageSize is how many tags or images a page has.
const pageSize = 100

// A figure is a measure that has no rounds.
type figure struct {
	Name    string             `json:"name"`
	Unit    string             `json:"unit"`
	Values  map[string]float64 `json:"values"`
	Remarks []string           `json:"remarks,omitempty"`
}

func (f *figure) set(s string, v float64) {
	if f.Values == nil {
		f.Values = map[string]float64{}
	}
	f.Values[s] = v
}

// listings measures the pages of every server.
func listings(ctx context.Context, sc scale, servers []*server, say func(string, ...any)) ([]figure, error) {
	var out []figure
	at := map[string]int{}
	add := func(name, unit, subject string, v float64) *figure {
		i, ok := at[name]
		if !ok {
			i = len(out)
			at[name] = i
			out = append(out, figure{Name: name, Unit: unit})
		}
		out[i].set(subject, v)
		return &out[i]
	}
	for _, s := range servers {
		n := sc.listing.tags
		if s.ecr == nil {
			n = min(n, sc.listing.peerTags)
		}
		small, large := "bench/list-small", "bench/list-large"
		if _, err := fillTags(ctx, s, small, pageSize, 0); err != nil {
			return nil, fmt.Errorf("fill %s on %s: %w", small, s.name, err)
		}
		began := time.Now()
		n, err := fillTags(ctx, s, large, n, sc.listing.fill)
		if err != nil {
			return nil, fmt.Errorf("fill %s on %s: %w", large, s.name, err)
		}
		say("%-45s %-14s %d tags in %.1f s", "listing", s.name, n, time.Since(began).Seconds())
		for _, k := range kinds(s) {
			few, err := k.pages(ctx, s, small, sc.listing.pages)
			if err != nil {
				return nil, fmt.Errorf("%s on %s: %w", k.name, s.name, err)
			}
			many, err := k.pages(ctx, s, large, sc.listing.pages)
			if err != nil {
				return nil, fmt.Errorf("%s on %s: %w", k.name, s.name, err)
			}
			add(fmt.Sprintf("%s, page of %d of %d", k.name, pageSize, pageSize), "ms", s.name, median(few))
			f := add(fmt.Sprintf("%s, page of %d of many", k.name, pageSize), "ms", s.name, median(many))
			f.Remarks = append(f.Remarks, fmt.Sprintf("%s: %d tags; p99 %.2f ms", s.name, n, percentile(many, 0.99)))
			add(k.name+", many tags / few", "x", s.name, median(many)/median(few))
		}
	}
	return out, nil
}

// fillTags gives a repository n tags with an image each, or as many as the time
// allows, and tells how many.
func fillTags(ctx context.Context, s *server, repository string, n int, most time.Duration) (int, error) {
	if err := s.prepare(ctx, repository); err != nil {
		return 0, err
	}
	layer, err := s.src.layer(kib)
	if err != nil {
		return 0, err
	}
	base, err := s.src.imageOf(layer)
	if err != nil {
		return 0, err
	}
	if err := s.with(func(c *client) error { return c.pushImage(ctx, repository, tagName(0), base) }); err != nil {
		return 0, err
	}
	var filled atomic.Int64
	filled.Add(1)
	_, err = drive(ctx, s, 8, budget{items: max(n-1, 1), time: most}, func(ctx context.Context, c *client, i int) (float64, error) {
		// The same config and layer, so that a tag costs one request.
		filled.Add(1)
		return 1, c.putManifest(ctx, repository, tagName(i+1), distinct(base.manifest.end, i+1))
	})
	return int(filled.Load()), err
}

// distinct is a manifest with a number in it.
func distinct(manifest []byte, n int) blob {
	return wrap(bytes.Replace(manifest, []byte("{"), fmt.Appendf(nil, `{"annotations":{"n":"%d"},`, n), 1))
}

func tagName(i int) string { return fmt.Sprintf("t%07d", i) }

// A kind is one way to list.
type kind struct {
	name  string
	pages func(ctx context.Context, s *server, repository string, pages int) (milliseconds []float64, err error)
}

func kinds(s *server) []kind {
	all := []kind{{"tags/list", tagPages}}
	if s.ecr != nil {
		all = append(all, kind{"DescribeImages", apiPages("DescribeImages")}, kind{"ListImages", apiPages("ListImages")})
	}
	return all
}

// walk reads pages from first to last, over and over until there are enough,
// and gives the times of the whole ones. A long list is left after a while.
func walk(pages int, page func(next string) (took time.Duration, items int, then string, err error)) (milliseconds []float64, err error) {
	next, first, began := "", true, time.Now()
	for len(milliseconds) < pages || next != "" && time.Since(began) < 10*time.Second {
		took, items, then, err := page(next)
		switch {
		case err != nil:
			return nil, err
		case items == pageSize:
			milliseconds = append(milliseconds, took.Seconds()*1000)
		case first:
			return nil, fmt.Errorf("the first page has %d items, not %d", items, pageSize)
		}
		next, first = then, false
	}
	return milliseconds, nil
}

// tagPages follows Link headers.
func tagPages(ctx context.Context, s *server, repository string, pages int) (out []float64, err error) {
	err = s.with(func(c *client) (err error) {
		out, err = walk(pages, func(target string) (time.Duration, int, string, error) {
			if target == "" {
				target = fmt.Sprintf("/v2/%s/tags/list?n=%d", repository, pageSize)
			}
			c.buf.Reset()
			began := time.Now()
			resp, err := c.do(ctx, request{method: "GET", target: target, keep: &c.buf}, http.StatusOK)
			took := time.Since(began)
			if err != nil {
				return 0, 0, "", err
			}
			var got struct{ Tags []string }
			err = json.Unmarshal(c.buf.Bytes(), &got)
			return took, len(got.Tags), nextPage(resp.link), err
		})
		return err
	})
	return out, err
}

// nextPage is the target of a Link header, or "".
func nextPage(link string) string {
	_, after, ok := strings.Cut(link, "<")
	target, _, closed := strings.Cut(after, ">")
	if !ok || !closed {
		return ""
	}
	return local(target)
}

// apiPages follows the tokens of an operation.
func apiPages(operation string) func(context.Context, *server, string, int) ([]float64, error) {
	return func(ctx context.Context, s *server, repository string, pages int) (out []float64, err error) {
		err = s.with(func(c *client) (err error) {
			out, err = walk(pages, func(token string) (time.Duration, int, string, error) {
				input := map[string]any{"repositoryName": repository, "maxResults": pageSize}
				if token != "" {
					input["nextToken"] = token
				}
				var got struct {
					ImageDetails, ImageIds []json.RawMessage
					NextToken              string
				}
				took, err := s.ecr.call(ctx, c.w, operation, input, &got)
				return took, len(got.ImageDetails) + len(got.ImageIds), got.NextToken, err
			})
			return err
		})
		return out, err
	}
}
