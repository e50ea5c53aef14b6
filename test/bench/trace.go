package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
)

// The trace is made, not recorded. Its shape follows what Anwar et al. report
// of five production registries (Improving Docker Registry Design based on
// Production Workload Analysis, FAST'18): most requests are GETs, most layers
// are small, few layers get most of the requests. The numbers below are ours,
// chosen to be of that shape; they are fitted to none of the recorded traces.
//
//	operations   70 % GET layer, 20 % GET manifest, 5 % HEAD manifest, 5 % push
//	a push       one new layer, its config, and a manifest with it on top of an image that is there
//	layers       65 % from 1 KiB to 1 MiB, 22 % to 4 MiB, 13 % to 16 MiB, log-uniform within each
//	images       1 to 8 layers, uniform
//	popularity   Zipf with exponent 1.2 over images; layers of an image uniform
//
// Large layers are cut at 16 MiB so that a round stays short. The same shape
// gives the same trace.
type traceShape struct {
	seed       uint64
	images     int // that are there before
	operations int
	clients    int
}

type operation int

const (
	getLayer operation = iota
	getManifest
	headManifest
	pushLayer
)

// A step is one operation of a trace.
type step struct {
	operation
	image, layer int
	size         int64 // of the new layer
}

// A trace is what is there before, as sizes of layers, and what happens then.
type trace struct {
	images [][]int64
	steps  []step
}

func (shape traceShape) trace() trace {
	r := rand.New(rand.NewPCG(shape.seed, shape.seed))
	t := trace{images: make([][]int64, shape.images), steps: make([]step, shape.operations)}
	for i := range t.images {
		t.images[i] = make([]int64, 1+r.IntN(8))
		for k := range t.images[i] {
			t.images[i][k] = layerSize(r)
		}
	}
	zipf := rand.NewZipf(r, 1.2, 1, uint64(shape.images-1))
	for i := range t.steps {
		s := step{image: int(zipf.Uint64())}
		s.layer = r.IntN(len(t.images[s.image]))
		switch p := r.IntN(100); {
		case p < 70:
			s.operation = getLayer
		case p < 90:
			s.operation = getManifest
		case p < 95:
			s.operation = headManifest
		default:
			s.operation, s.size = pushLayer, layerSize(r)
		}
		t.steps[i] = s
	}
	return t
}

func layerSize(r *rand.Rand) int64 {
	from, to := 4.0*mib, 16.0*mib
	switch p := r.IntN(100); {
	case p < 65:
		from, to = kib, mib
	case p < 87:
		from, to = mib, 4*mib
	}
	return int64(from * math.Pow(to/from, r.Float64()))
}

// replay measures the whole trace, whatever time it takes.
func (sc scale) replay() func(context.Context, *server, string) (sample, error) {
	t := sc.trace.trace()
	return func(ctx context.Context, s *server, repository string) (sample, error) {
		images, err := t.fill(ctx, s, repository)
		if err != nil {
			return sample{}, err
		}
		pushes, err := t.pushes(s.src, images)
		if err != nil {
			return sample{}, err
		}
		return drive(ctx, s, sc.trace.clients, budget{items: len(t.steps)}, func(ctx context.Context, c *client, i int) (float64, error) {
			st := t.steps[i]
			tag := fmt.Sprintf("v%d", st.image)
			switch st.operation {
			case getLayer:
				return 1, c.getBlob(ctx, repository, images[st.image].blobs[1+st.layer])
			case getManifest:
				return 1, c.touchManifest(ctx, "GET", repository, tag)
			case headManifest:
				return 1, c.touchManifest(ctx, "HEAD", repository, tag)
			}
			// Layers of the image below are there, so only the two others are sent.
			img := pushes[i]
			for _, b := range []blob{img.blobs[0], img.blobs[len(img.blobs)-1]} {
				if err := c.pushBlob(ctx, repository, b); err != nil {
					return 0, err
				}
			}
			return 1, c.putManifest(ctx, repository, fmt.Sprintf("new%d", i), img.manifest)
		})
	}
}

// fill pushes what is there before the trace begins.
func (t trace) fill(ctx context.Context, s *server, repository string) ([]image, error) {
	if err := s.prepare(ctx, repository); err != nil {
		return nil, err
	}
	images := make([]image, len(t.images))
	return images, s.with(func(c *client) (err error) {
		for i, sizes := range t.images {
			if images[i], err = s.src.image(sizes...); err != nil {
				return err
			}
			if err := c.pushImage(ctx, repository, fmt.Sprintf("v%d", i), images[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// pushes makes the images that the trace pushes, by step.
func (t trace) pushes(src *source, images []image) (map[int]image, error) {
	out := map[int]image{}
	for i, st := range t.steps {
		if st.operation != pushLayer {
			continue
		}
		layer, err := src.layer(st.size)
		if err != nil {
			return nil, err
		}
		below := images[st.image].blobs[1:]
		if out[i], err = src.imageOf(append(below[:len(below):len(below)], layer)...); err != nil {
			return nil, err
		}
	}
	return out, nil
}
