package metatest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"berth/internal/meta"
)

// awkward are names whose order is another one in most languages than that of
// their bytes, which is the order promised.
func awkward() []string {
	return []string{"a", "B", "_", "a-b", "a/b", "ab", "a.b", "Z", "z", "0", "é", "日本", "a_b", "A", "aB", "~"}
}

// inPages reads everything in pages of two.
func inPages(t *testing.T, db *meta.DB, page func(tx *meta.Tx, after string) ([]string, error)) (all []string) {
	t.Helper()
	for after := ""; ; after = all[len(all)-1] {
		var names []string
		view(t, db, func(tx *meta.Tx) (err error) {
			names, err = page(tx, after)
			return err
		})
		if len(names) == 0 {
			return all
		}
		all = append(all, names...)
		if len(all) > 1000 {
			t.Fatal("pages repeat themselves")
		}
	}
}

// order checks that names come in the order of their bytes, whatever the
// language of the database, and that pages neither repeat nor leave out.
func order(t *testing.T, db *meta.DB) {
	app := newRepository("0-app")
	update(t, db, func(tx *meta.Tx) error {
		if err := tx.InsertRepository(app); err != nil {
			return err
		}
		m := &meta.StoredManifest{Image: meta.Image{RepositoryID: app.ID, Digest: "sha256:aa", PushedAt: time.Unix(1, 0)}, Bytes: []byte("{}")}
		if err := tx.InsertImage(m); err != nil {
			return err
		}
		for _, n := range awkward() {
			if err := errors.Join(
				tx.InsertRepository(newRepository("x"+n)),
				tx.PutTag(app.ID, n, m.ID, time.Unix(2, 0)),
				tx.PutResourceTag(app.ID, meta.ResourceTag{Key: n, Value: "v"}),
				tx.InsertCacheRule(meta.CacheRule{Scope: home, Prefix: n, CreatedAt: time.Unix(1, 0)}),
			); err != nil {
				return err
			}
		}
		return nil
	})
	want := awkward()
	slices.Sort(want)
	check := func(what string, got []string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s in the order %q, want %q", what, got, want)
		}
	}
	repositories := inPages(t, db, func(tx *meta.Tx, after string) (names []string, err error) {
		page, err := tx.Repositories(home, after, 2)
		for _, r := range page {
			names = append(names, r.Name)
		}
		return names, err
	})
	for i, name := range repositories[1:] {
		repositories[i+1] = name[1:]
	}
	check("repositories", repositories[1:])
	check("tags", inPages(t, db, func(tx *meta.Tx, after string) ([]string, error) { return tx.Tags(app.ID, after, 2) }))
	check("cache rules", inPages(t, db, func(tx *meta.Tx, after string) (names []string, err error) {
		page, err := tx.CacheRules(home, after, 2)
		for _, r := range page {
			names = append(names, r.Prefix)
		}
		return names, err
	}))
	view(t, db, func(tx *meta.Tx) error {
		tags, err := tx.ResourceTags(app.ID)
		var keys []string
		for _, tag := range tags {
			keys = append(keys, tag.Key)
		}
		check("resource tags", keys)
		image, err2 := tx.ImageByTag(app.ID, "a")
		names, err3 := tx.TagsOf(image.ID)
		check("tags of an image", names)
		return errors.Join(err, err2, err3)
	})
}

// imagePages lists images and their tags page by page.
func imagePages(t *testing.T, db *meta.DB) {
	r := newRepository("app")
	var want []string
	update(t, db, func(tx *meta.Tx) error {
		want = nil
		if err := tx.InsertRepository(r); err != nil {
			return err
		}
		for i := range 7 {
			m := &meta.StoredManifest{Image: meta.Image{RepositoryID: r.ID, Digest: fmt.Sprintf("sha256:%02d", 9-i), PushedAt: time.Unix(1, 0)}, Bytes: []byte("{}")}
			if err := tx.InsertImage(m); err != nil {
				return err
			}
			for k := range i % 3 {
				tag := fmt.Sprintf("t%d-%d", i, k)
				want = append(want, m.Digest+" "+tag)
				if err := tx.PutTag(r.ID, tag, m.ID, time.Unix(2, 0)); err != nil {
					return err
				}
			}
			if i%3 == 0 {
				want = append(want, m.Digest+" ")
			}
		}
		return nil
	})
	for _, c := range []struct {
		filter meta.TagFilter
		images int
		keep   func(pair string) bool
	}{
		{meta.AnyTag, 7, func(string) bool { return true }},
		{meta.Tagged, 4, func(pair string) bool { return pair[len(pair)-1] != ' ' }},
		{meta.Untagged, 3, func(pair string) bool { return pair[len(pair)-1] == ' ' }},
	} {
		var pairs []string
		var images int
		view(t, db, func(tx *meta.Tx) error {
			pairs, images = nil, 0
			for last := (meta.ImageTag{}); ; {
				page, err := tx.ImageTags(r.ID, meta.ImageFilter{Tags: c.filter}, last.ImageID, last.Tag, 2)
				if err != nil {
					return err
				}
				if len(page) == 0 {
					break
				}
				for _, p := range page {
					pairs = append(pairs, p.Digest+" "+p.Tag)
				}
				last = page[len(page)-1]
			}
			for last := int64(0); ; {
				page, err := tx.Images(r.ID, meta.ImageFilter{Tags: c.filter}, last, 2)
				if err != nil || len(page) == 0 {
					return err
				}
				images += len(page)
				last = page[len(page)-1].ID
			}
		})
		expected := slices.DeleteFunc(slices.Clone(want), func(p string) bool { return !c.keep(p) })
		if images != c.images {
			t.Errorf("filter %d gives %d images, want %d", c.filter, images, c.images)
		}
		if c.filter == meta.AnyTag || c.filter == meta.Tagged {
			if !slices.Equal(pairs, expected) {
				t.Errorf("filter %d gives %q, want %q", c.filter, pairs, expected)
			}
		} else if len(pairs) != len(expected) {
			t.Errorf("filter %d gives %q, want %q", c.filter, pairs, expected)
		}
	}
}

// accounts exercises access keys and cache rules.
func accounts(t *testing.T, db *meta.DB) {
	key := meta.AccessKey{ID: "AK2", Account: "000000000000", Principal: "arn:p", UserID: "u", Sealed: []byte("s\x00"), Active: true, CreatedAt: time.Unix(2, 0).UTC()}
	older := key
	older.ID, older.CreatedAt, older.Active = "AK9", time.Unix(1, 0).UTC(), false
	rule := meta.CacheRule{Scope: home, Prefix: "quay", UpstreamURL: "quay.io", CreatedAt: time.Unix(1, 0).UTC(), UpdatedAt: time.Unix(1, 0).UTC()}
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.PutAccessKey(key), tx.PutAccessKey(older), tx.InsertCacheRule(rule))
	})
	err := db.Update(context.Background(), func(tx *meta.Tx) error { return tx.InsertCacheRule(rule) })
	if !errors.Is(err, meta.ErrExists) {
		t.Errorf("second rule: %v, want ErrExists", err)
	}
	rule.CredentialARN, rule.UpdatedAt = "arn:c", time.Unix(3, 0).UTC()
	key.Sealed = []byte{0xff, 0}
	update(t, db, func(tx *meta.Tx) error { return errors.Join(tx.SaveCacheRule(rule), tx.PutAccessKey(key)) })
	view(t, db, func(tx *meta.Tx) error {
		keys, err := tx.AccessKeys("arn:p")
		if !reflect.DeepEqual(keys, []meta.AccessKey{older, key}) {
			t.Errorf("keys %+v, want the older first", keys)
		}
		got, err2 := tx.CacheRule(home, "quay")
		if got != rule {
			t.Errorf("rule %+v, want %+v", got, rule)
		}
		return errors.Join(err, err2)
	})
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.DeleteCacheRule(home, "quay"), tx.DeleteAccessKey("AK9"))
	})
	for what, gone := range map[string]func(tx *meta.Tx) error{
		"rule": func(tx *meta.Tx) error { return tx.DeleteCacheRule(home, "quay") },
		"key":  func(tx *meta.Tx) error { return tx.DeleteAccessKey("AK9") },
	} {
		if err := db.Update(context.Background(), gone); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("a %s was removed twice: %v", what, err)
		}
	}
}

// texts checks that what one database cannot hold is refused by all.
func texts(t *testing.T, db *meta.DB) {
	r := newRepository("app")
	update(t, db, func(tx *meta.Tx) error { return tx.InsertRepository(r) })
	for _, bad := range []string{"a\x00b", "\xff", "é"[:1]} {
		for what, fn := range map[string]func(tx *meta.Tx) error{
			"insert": func(tx *meta.Tx) error { return tx.InsertRepository(newRepository(bad)) },
			"exec":   func(tx *meta.Tx) error { return tx.PutResourceTag(r.ID, meta.ResourceTag{Key: "k", Value: bad}) },
			"one":    func(tx *meta.Tx) error { return tx.DeleteTag(r.ID, bad) },
			"get":    func(tx *meta.Tx) error { _, err := tx.ImageByTag(r.ID, bad); return err },
			"list":   func(tx *meta.Tx) error { _, err := tx.Tags(r.ID, bad, 1); return err },
		} {
			if err := db.Update(context.Background(), fn); !errors.Is(err, meta.ErrText) {
				t.Errorf("%s with %q: %v, want ErrText", what, bad, err)
			}
		}
	}
	long := string(make([]rune, 100_000))
	for _, good := range []string{"", "日本 🚢", "'; DROP TABLE tags; --", "%_\\"} {
		var got []meta.ResourceTag
		update(t, db, func(tx *meta.Tx) (err error) {
			if err := tx.PutResourceTag(r.ID, meta.ResourceTag{Key: "k", Value: good}); err != nil {
				return err
			}
			got, err = tx.ResourceTags(r.ID)
			return err
		})
		if len(got) != 1 || got[0].Value != good {
			t.Errorf("stored %q, read %q", good, got)
		}
	}
	if err := db.Update(context.Background(), func(tx *meta.Tx) error {
		return tx.PutResourceTag(r.ID, meta.ResourceTag{Key: "k", Value: long})
	}); !errors.Is(err, meta.ErrText) {
		t.Errorf("NULs alone: %v", err)
	}
}
