package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A workload is one thing that clients do a lot. It is measured in rounds.
type workload struct {
	name, unit string
	limit      limitKind
	measure    func(ctx context.Context, s *server, repository string) (sample, error)
}

// A scale says how much work a run does.
type scale struct {
	rounds  int
	round   time.Duration // of one workload on one registry
	limit   time.Duration // of the measurement of one limit
	bytes   float64       // MB, the most that one round moves
	medium  int64         // bytes of a layer of middle size
	large   int64
	layers  int // of an image of many small layers
	trace   traceShape
	listing listingShape
	memory  memoryShape
	images  int // in the registry whose start is measured
	starts  int
}

func fullScale() scale {
	return scale{
		rounds: 5, round: 3 * time.Second, limit: 2 * time.Second, bytes: 768, medium: 4 * mib, large: 64 * mib, layers: 40,
		trace:   traceShape{seed: 1, images: 64, operations: 2000, clients: 8},
		listing: listingShape{tags: 100_000, peerTags: 2000, fill: 3 * time.Minute, pages: 60},
		memory:  memoryShape{clients: 64, size: 100 * mib},
		images:  1_000_000, starts: 5,
	}
}

// quickScale is for seeing that everything works, in less than a minute.
func quickScale() scale {
	return scale{
		rounds: 2, round: 400 * time.Millisecond, limit: 300 * time.Millisecond, bytes: 256, medium: 4 * mib, large: 64 * mib, layers: 40,
		trace:   traceShape{seed: 1, images: 8, operations: 100, clients: 8},
		listing: listingShape{tags: 1000, peerTags: 300, fill: 4 * time.Second, pages: 20},
		memory:  memoryShape{clients: 64, size: 4 * mib},
		images:  1000, starts: 3,
	}
}

func (sc scale) workloads() []workload {
	return []workload{
		{"push 4 MiB layers, 4 clients", "MB/s", byDisk, sc.push(4, same(4, sc.medium), true)},
		{"push 64 MiB layers, 2 clients", "MB/s", byDisk, sc.push(2, same(2, sc.large), true)},
		{fmt.Sprintf("push %d layers of 4 KiB, 4 clients", sc.layers), "images/s", byFsync, sc.push(4, same(sc.layers, 4*kib), false)},
		{"pull 4 MiB layers, 4 clients", "MB/s", byBytes, sc.pull(4, same(4, sc.medium), true)},
		{fmt.Sprintf("pull %d layers of 4 KiB, 4 clients", sc.layers), "images/s", byRequests, sc.pull(4, same(sc.layers, 4*kib), false)},
		{"manifest HEAD by tag, 8 clients", "requests/s", byRequests, sc.manifests("HEAD", 8)},
		{"manifest GET by tag, 8 clients", "requests/s", byRequests, sc.manifests("GET", 8)},
		{"mixed push, pull, HEAD, 8 clients", "items/s", byRequests, sc.mixed(8)},
		{"trace, 8 clients", "operations/s", byRequests, sc.replay()},
	}
}

// push measures images of new layers. The rate is in MB/s or in images.
func (sc scale) push(clients int, sizes []int64, inBytes bool) func(context.Context, *server, string) (sample, error) {
	return func(ctx context.Context, s *server, repository string) (sample, error) {
		if err := s.prepare(ctx, repository); err != nil {
			return sample{}, err
		}
		if _, err := s.src.image(sizes...); err != nil { // hashes what all layers have in common
			return sample{}, err
		}
		return drive(ctx, s, clients, sc.budget(inBytes), func(ctx context.Context, c *client, i int) (float64, error) {
			img, err := s.src.image(sizes...)
			if err != nil {
				return 0, err
			}
			return amount(sizes, inBytes), c.pushImage(ctx, repository, fmt.Sprintf("v%d", i), img)
		})
	}
}

// pulled is how many images the workloads that pull pull in turn.
const pulled = 4

func (sc scale) pull(clients int, sizes []int64, inBytes bool) func(context.Context, *server, string) (sample, error) {
	return func(ctx context.Context, s *server, repository string) (sample, error) {
		if err := seed(ctx, s, repository, pulled, sizes); err != nil {
			return sample{}, err
		}
		b := sc.budget(inBytes)
		b.amount = 0 // what is pulled fills no disk
		return drive(ctx, s, clients, b, func(ctx context.Context, c *client, i int) (float64, error) {
			return amount(sizes, inBytes), c.pullImage(ctx, repository, fmt.Sprintf("v%d", i%pulled))
		})
	}
}

func (sc scale) manifests(method string, clients int) func(context.Context, *server, string) (sample, error) {
	return func(ctx context.Context, s *server, repository string) (sample, error) {
		if err := seed(ctx, s, repository, 1, same(4, kib)); err != nil {
			return sample{}, err
		}
		return drive(ctx, s, clients, sc.budget(false), func(ctx context.Context, c *client, _ int) (float64, error) {
			return 1, c.touchManifest(ctx, method, repository, "v0")
		})
	}
}

// mixed does one push, two pulls and two HEADs of every five items, in an order
// that is the same in every run. Images have three layers of 64 KiB.
func (sc scale) mixed(clients int) func(context.Context, *server, string) (sample, error) {
	sizes := same(3, 64*kib)
	return func(ctx context.Context, s *server, repository string) (sample, error) {
		if err := seed(ctx, s, repository, pulled, sizes); err != nil {
			return sample{}, err
		}
		order := rand.New(rand.NewPCG(2, 2)).Perm(1000)
		return drive(ctx, s, clients, sc.budget(false), func(ctx context.Context, c *client, i int) (float64, error) {
			tag := fmt.Sprintf("v%d", i%pulled)
			switch order[i%len(order)] % 5 {
			case 0:
				img, err := s.src.image(sizes...)
				if err != nil {
					return 0, err
				}
				return 1, c.pushImage(ctx, repository, fmt.Sprintf("new%d", i), img)
			case 1, 2:
				return 1, c.pullImage(ctx, repository, tag)
			default:
				return 1, c.touchManifest(ctx, "HEAD", repository, tag)
			}
		})
	}
}

// seed makes a repository with images v0, v1, …
func seed(ctx context.Context, s *server, repository string, images int, sizes []int64) error {
	if err := s.prepare(ctx, repository); err != nil {
		return err
	}
	return s.with(func(c *client) error {
		for i := range images {
			img, err := s.src.image(sizes...)
			if err != nil {
				return err
			}
			if err := c.pushImage(ctx, repository, fmt.Sprintf("v%d", i), img); err != nil {
				return err
			}
		}
		return nil
	})
}

func (sc scale) budget(inBytes bool) budget {
	b := budget{time: sc.round}
	if inBytes {
		b.amount = sc.bytes
	}
	return b
}

func amount(sizes []int64, inBytes bool) float64 {
	if !inBytes {
		return 1
	}
	total := int64(0)
	for _, n := range sizes {
		total += n
	}
	return float64(total) / 1e6
}

// A row is a workload's samples, by subject, one for each round.
type row struct {
	Workload string              `json:"workload"`
	Unit     string              `json:"unit"`
	Limit    limitKind           `json:"limit"`
	Samples  map[string][]sample `json:"samples"`
}

// rounds measures every workload on every server in turn. Each round begins
// with the next server, so that none is always the one after another.
func rounds(ctx context.Context, sc scale, servers []*server, all []workload, say func(string, ...any)) ([]row, error) {
	rows := make([]row, len(all))
	for i, w := range all {
		rows[i] = row{w.name, w.unit, w.limit, map[string][]sample{}}
	}
	for round := range sc.rounds {
		first := round % len(servers)
		turn := slices.Concat(servers[first:], servers[:first])
		for i, w := range all {
			for _, s := range turn {
				got, err := w.measure(ctx, s, fmt.Sprintf("bench/w%d-r%d", i, round))
				if err != nil {
					return nil, fmt.Errorf("%s on %s: %w", w.name, s.name, err)
				}
				say("round %d  %-36s %-14s %10.1f %s", round+1, w.name, s.name, got.Rate, w.unit)
				rows[i].Samples[s.name] = append(rows[i].Samples[s.name], got)
			}
		}
	}
	return rows, nil
}
