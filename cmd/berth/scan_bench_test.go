package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"berth/internal/testkit"
)

// BenchmarkPush is a push of one small layer, one after the other, without scans and with a scan of each image that is
// pushed, which goes on beside the next ones.
func BenchmarkPush(b *testing.B) {
	bin := buildBinary(b)
	for _, scan := range []bool{false, true} {
		b.Run(map[bool]string{false: "scan=off", true: "scan=on"}[scan], func(b *testing.B) {
			data := filepath.Join(b.TempDir(), "data")
			p, err := launch(bin, b.TempDir(), os.Environ(), []string{"serve", "--listen", "127.0.0.1:0", "--data", data, "--log-level", "error"})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = p.kill() }()
			if _, err := p.await(`listening on (\S+)`); err != nil {
				b.Fatal(err)
			}
			r, err := connect(b.Context(), data)
			if err != nil {
				b.Fatal(err)
			}
			name := "app"
			_, err = r.ecr.CreateRepository(b.Context(), &ecr.CreateRepositoryInput{
				RepositoryName: &name, ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: scan},
			})
			if err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				image := testkit.RandomImage(b, 1, 4096)
				b.StartTimer()
				begun := time.Now()
				if err := r.push(b.Context(), name, fmt.Sprint("v", i), image); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
		})
	}
}
