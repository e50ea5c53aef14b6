package crash

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	audits "berth/internal/audit"
	"berth/internal/meta"
	"berth/internal/server"
	"berth/internal/testkit"
)

// A mover is one data directory on whose servers images are archived and restored.
type mover struct {
	*chain
	archive string // directory of the second store; empty: none
	images  map[string]testkit.Content
}

const archived = "archived" // the repository

func newMover(t *testing.T, second bool) *mover {
	m := &mover{chain: newChain(t, 0), images: map[string]testkit.Content{}}
	if second {
		m.archive = filepath.Join(t.TempDir(), "archive")
	}
	return m
}

// run starts a server that moves bytes all the time.
func (m *mover) run() *process {
	m.t.Helper()
	p, err := launch(childConfig{Data: m.data, Archive: m.archive, Move: true})
	m.must(err, "start")
	m.t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	m.must(p.greet(), "start")
	_, err = p.ECR.CreateRepository(m.ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String(archived)})
	var exists *types.RepositoryAlreadyExistsException
	if err != nil && !errors.As(err, &exists) {
		m.t.Fatal(err)
	}
	return p
}

// push stores an image of two layers, one of which compresses.
func (m *mover) push(p *process) (tag string) {
	m.t.Helper()
	tag = fmt.Sprintf("v%d", len(m.images))
	text := testkit.Artifact(m.t, "application/x", []byte(strings.Repeat(tag+" is a text. ", layerSize/13)), nil)
	image := testkit.RandomImage(m.t, 1, layerSize)
	for name, c := range map[string]testkit.Content{tag + "-text": text, tag + "-noise": image} {
		for b, manifest := range c.All() {
			if manifest {
				m.must(p.PutManifest(m.ctx, archived, name, b), "push")
			} else {
				m.must(p.PutBlob(m.ctx, archived, b), "push a layer")
			}
		}
		m.images[name] = c
	}
	return tag
}

// class changes the storage class of what push made; a server that died answers nothing.
func (m *mover) class(p *process, tag string, class types.TargetStorageClass) error {
	for _, kind := range []string{"-text", "-noise"} {
		_, err := p.ECR.UpdateImageStorageClass(m.ctx, &ecr.UpdateImageStorageClassInput{
			RepositoryName: aws.String(archived), ImageId: &types.ImageIdentifier{ImageTag: aws.String(tag + kind)}, TargetStorageClass: class,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// moved tells whether the layers of what push made are where archived ones
// should be, and whether they are where active ones should be.
func (m *mover) moved(tag string) (away, back bool) {
	m.t.Helper()
	s, err := server.OpenStorage(m.ctx, storesIn(m.data, m.archive))
	m.must(err, "look at the rows")
	defer func() { m.must(s.Close(), "close") }()
	away, back = true, true
	m.must(s.DB.View(m.ctx, func(tx *meta.Tx) error {
		for _, kind := range []string{"-text", "-noise"} {
			b, err := tx.Blob("000000000000", m.images[tag+kind].Blobs[1].Descriptor.Digest.String())
			if err != nil {
				return err
			}
			away = away && b.Cold == (m.archive != "") && (b.Packed > 0 || b.Cold || b.Incompressible)
			back = back && !b.Moved()
		}
		return nil
	}), "read the rows")
	return away, back
}

// until waits for the server's end or until its work is done, and tells which.
func (m *mover) until(p *process, done func() bool) (died bool) {
	m.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		if p.isDead(20 * time.Millisecond) {
			return true
		}
		if done() {
			return p.isDead(200 * time.Millisecond) // the steps after that are idle rounds
		}
		if time.Now().After(deadline) {
			m.t.Fatal("nothing is moved")
		}
	}
}

// move lets a server archive an image, or restore it, until the moment given,
// and gives the steps that it took when there is none.
func (m *mover) move(back bool, at kill) map[string]int {
	m.t.Helper()
	m.must(m.outlive(), "take over from a mover that died")
	p := m.run()
	tag := m.push(p)
	class, done := types.TargetStorageClassArchive, func() bool { away, _ := m.moved(tag); return away }
	if back {
		m.must(m.class(p, tag, class), "archive")
		if m.until(p, done) {
			m.t.Fatal("the server died too early")
		}
		class, done = types.TargetStorageClassStandard, func() bool { _, back := m.moved(tag); return back }
	}
	_, err := p.arm(at)
	m.must(err, "arm")
	if err := m.class(p, tag, class); err != nil && !silent(err) {
		m.t.Fatal(err)
	}
	switch {
	case m.until(p, done):
		m.killed(p, 1)
	case at.N > 0:
		m.missed++
		m.must(p.kill(), "end")
	default:
		counts, err := p.arm(kill{})
		m.must(err, "count")
		m.must(p.kill(), "end")
		return counts
	}
	_, err = lookAt(m.ctx, storesIn(m.data, m.archive), true)
	m.must(err, "read every row after "+at.String())
	return nil
}

// outlive lets the claims of a server that was killed run out at once.
func (m *mover) outlive() error {
	if _, err := os.Stat(m.data); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	s, err := server.OpenStorage(m.ctx, storesIn(m.data, m.archive))
	if err != nil {
		return err
	}
	err = s.DB.Update(m.ctx, func(tx *meta.Tx) error {
		for _, name := range []string{"archive", "restore"} {
			later := time.Now().Add(time.Hour)
			if _, err := tx.Claim(name, "test", later, later); err != nil {
				return err
			}
			if err := tx.Release(name, "test"); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, s.Close())
}

// finish restores everything, pulls it, collects, and expects each row to have
// its bytes in one place and nothing else to be there.
func (m *mover) finish() {
	m.t.Helper()
	m.must(m.outlive(), "take over from a mover that died")
	p := m.run()
	for name := range m.images {
		tag, noise := strings.CutSuffix(name, "-noise")
		if !noise {
			continue
		}
		m.must(m.class(p, tag, types.TargetStorageClassStandard), "restore")
	}
	for name, image := range m.images {
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			err := p.Pull(m.ctx, archived, name, image)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				m.t.Fatalf("pull %s: %v", name, err)
			}
		}
	}
	m.must(p.kill(), "end")
	s, err := server.OpenStorage(m.ctx, storesIn(m.data, m.archive))
	m.must(err, "open the stores")
	m.must(s.DB.View(m.ctx, func(tx *meta.Tx) error {
		packed, cold, err := tx.MovedTotals()
		if packed.Blobs+cold.Blobs > 0 {
			m.t.Errorf("all images are active, and moved are %+v and %+v", packed, cold)
		}
		return err
	}), "read the rows")
	m.must(collectAll(m.ctx, s), "collect")
	r, err := s.Auditor(slog.New(slog.DiscardHandler)).Sweep(m.ctx, time.Nanosecond)
	m.must(err, "sweep")
	if most := 2 * m.kills; r.Settled > most {
		m.t.Errorf("%d kills left %d objects without a row", m.kills, r.Settled)
	}
	check, err := s.Auditor(slog.New(slog.DiscardHandler)).Check(m.ctx, audits.Options{Deep: true, OrphanAge: -1})
	if err != nil || check.Problems > 0 {
		m.t.Errorf("the stores are not clean: %v %+v", err, check.Findings)
	}
	m.must(s.Close(), "close")
	a, err := lookAt(m.ctx, storesIn(m.data, m.archive), true)
	m.must(err, "look at the stores")
	files := countFiles(m.t, m.data)
	if m.archive != "" {
		files += countFiles(m.t, m.archive)
	}
	if want := len(m.images); a.copies != want || files != want || len(a.stray) > 0 {
		m.t.Errorf("%d copies in %d files for %d layers, strays %q", a.copies, files, want, a.stray)
	}
	m.t.Logf("%d kills, %d moments did not come, %d objects were left over", m.kills, m.missed, r.Settled)
}

// TestInvariant02_MovedBytesSurviveEveryStep kills the server at the steps of
// moving bytes to the archive and back.
func TestInvariant02_MovedBytesSurviveEveryStep(t *testing.T) {
	t.Parallel()
	kills := int(number(t, "CRASH_KILLS", 225)) / 15
	for _, second := range []bool{false, true} {
		for _, back := range []bool{false, true} {
			t.Run(fmt.Sprintf("second store %t, back %t", second, back), func(t *testing.T) {
				t.Parallel()
				m := newMover(t, second)
				counts := m.move(back, kill{})
				for name, n := range counts {
					counts[name] = min(n, maxCollectSteps) // idle rounds take their claim, too
				}
				all := points(scenario{}, counts)
				for _, at := range sample(all, kills) {
					m.move(back, at.at)
				}
				m.finish()
				if m.kills < kills*2/3 {
					t.Errorf("only %d of %d kills happened", m.kills, kills)
				}
			})
		}
	}
}
