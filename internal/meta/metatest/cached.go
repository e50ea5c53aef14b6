package metatest

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"berth/internal/meta"
)

// cached: what is known of tags and manifests of upstreams goes with its
// repository, and manifests after a time.
func cached(t *testing.T, db *meta.DB) {
	r := newRepository("hub/app")
	update(t, db, func(tx *meta.Tx) error { return tx.InsertRepository(r) })
	one := meta.CachedTag{Digest: "sha256:aa", Arriving: "sha256:bb", CheckedAt: at(5)}
	two := meta.CachedTag{Digest: "sha256:bb", CheckedAt: at(6)}
	m := meta.CachedManifest{RepositoryID: r.ID, Digest: "sha256:bb", MediaType: "m", Size: 3, CreatedAt: at(5), Bytes: []byte{1, 0, 2}}
	old := m
	old.Digest, old.CreatedAt = "sha256:cc", at(1)
	for _, put := range []meta.CachedTag{one, two} {
		update(t, db, func(tx *meta.Tx) error { return tx.PutCachedTag(r.ID, "latest", put) })
		view(t, db, func(tx *meta.Tx) error {
			got, err := tx.CachedTag(r.ID, "latest")
			if got != put {
				t.Errorf("got %+v, want %+v", got, put)
			}
			return err
		})
	}
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.PutCachedManifest(old), tx.PutCachedManifest(m), tx.PutCachedManifest(m))
	})
	list := func() (out []meta.CachedManifest) {
		view(t, db, func(tx *meta.Tx) (err error) {
			out, err = tx.CachedManifests(r.ID, 10)
			return err
		})
		return out
	}
	if got := list(); !reflect.DeepEqual(got, []meta.CachedManifest{m, old}) {
		t.Errorf("manifests %+v", got)
	}
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteCachedManifests(at(5)) })
	if got := list(); len(got) != 1 || got[0].Digest != m.Digest {
		t.Errorf("after the old ones went: %+v", got)
	}
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteRepository(r.ID) })
	view(t, db, func(tx *meta.Tx) error {
		if _, err := tx.CachedTag(r.ID, "latest"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("the tag of a repository that is gone: %v", err)
		}
		if _, err := tx.CachedManifest(r.ID, m.Digest); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("the manifest of a repository that is gone: %v", err)
		}
		return nil
	})
}

// cacheCounts add up, and go with their rule.
func cacheCounts(t *testing.T, db *meta.DB) {
	rule := meta.CacheRule{Scope: home, Prefix: "hub", UpstreamURL: "quay.io", CreatedAt: at(1), UpdatedAt: at(1)}
	one := meta.CacheTally{Scope: home, Prefix: "hub", CacheCounts: meta.CacheCounts{Hits: 1, Misses: 2, Requests: 3, Fetched: 4, FetchedBytes: 5, Served: 6, ServedBytes: 1 << 40, Failures: 8}}
	limited, older := one, one
	limited.Limit = meta.CacheLimit{Pulls: 100, Remaining: 7, Window: 6 * time.Hour, At: at(5)}
	older.Limit = meta.CacheLimit{Pulls: 100, Remaining: 9, At: at(4)}
	none := one
	none.Prefix = "none"
	update(t, db, func(tx *meta.Tx) error { return tx.InsertCacheRule(rule) })
	for _, add := range []meta.CacheTally{one, limited, older, none} {
		update(t, db, func(tx *meta.Tx) error { return tx.AddCacheTally(add) })
	}
	tallies := func() (out []meta.CacheTally) {
		view(t, db, func(tx *meta.Tx) (err error) {
			out, err = tx.CacheTallies(home)
			return err
		})
		return out
	}
	want := limited
	want.CacheCounts = meta.CacheCounts{Hits: 3, Misses: 6, Requests: 9, Fetched: 12, FetchedBytes: 15, Served: 18, ServedBytes: 3 << 40, Failures: 24}
	if got := tallies(); !reflect.DeepEqual(got, []meta.CacheTally{want}) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteCacheRule(home, "hub") })
	if got := tallies(); len(got) != 0 {
		t.Errorf("of a rule that is gone: %+v", got)
	}
}

// secrets have one name each, and their versions go with them.
func secrets(t *testing.T, db *meta.DB) {
	s := meta.Secret{ARN: "arn:1", Scope: home, Name: "a", Tags: map[string]string{"k": "v"}, CreatedAt: at(1), ChangedAt: at(1)}
	same := s
	same.ARN = "arn:2"
	b := meta.Secret{ARN: "arn:3", Scope: home, Name: "b", KMSKey: "key", Tags: map[string]string{}, CreatedAt: at(2), ChangedAt: at(2), DeletedAt: at(3), DeleteAt: at(9)}
	v := meta.SecretVersion{ARN: s.ARN, ID: "v1", Stages: []string{"AWSCURRENT"}, Wrapped: []byte{1, 0}, Value: []byte{0, 2}, CreatedAt: at(1)}
	by := v
	by.ID, by.KMSKey, by.CreatedAt = "v2", "arn:key", at(2)
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.InsertSecret(s), tx.InsertSecret(b), tx.PutSecretVersion(v), tx.PutSecretVersion(by))
	})
	if err := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.InsertSecret(same) }); !errors.Is(err, meta.ErrExists) {
		t.Errorf("a second secret of one name: %v", err)
	}
	view(t, db, func(tx *meta.Tx) error {
		got, err := tx.SecretNamed(home, "a")
		all, err2 := tx.Secrets(home, "", true, 10)
		live, err3 := tx.Secrets(home, "", false, 10)
		versions, err4 := tx.SecretVersions(s.ARN)
		master, err5 := tx.MasterSecretVersions("", "", 10)
		if !reflect.DeepEqual(got, s) || !reflect.DeepEqual(all, []meta.Secret{s, b}) || !reflect.DeepEqual(live, []meta.Secret{s}) ||
			!reflect.DeepEqual(versions, []meta.SecretVersion{v, by}) || !reflect.DeepEqual(master, []meta.SecretVersion{v}) {
			t.Errorf("got %+v, %+v, %+v, %+v, %+v", got, all, live, versions, master)
		}
		return errors.Join(err, err2, err3, err4, err5)
	})
	update(t, db, func(tx *meta.Tx) error {
		v.Stages = nil
		s.Description, s.AccessedAt = "changed", at(7)
		return errors.Join(tx.PutSecretVersion(v), tx.RewrapSecretVersion(s.ARN, "v1", []byte{9}), tx.SaveSecret(s), tx.DeleteDueSecrets(at(9)))
	})
	view(t, db, func(tx *meta.Tx) error {
		got, err := tx.Secret(s.ARN)
		versions, err2 := tx.SecretVersions(s.ARN)
		if !reflect.DeepEqual(got, s) || len(versions) != 2 || len(versions[0].Stages) != 0 || versions[0].Wrapped[0] != 9 {
			t.Errorf("got %+v, %+v", got, versions)
		}
		if _, err := tx.Secret(b.ARN); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("a secret whose time has come: %v", err)
		}
		return errors.Join(err, err2)
	})
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteSecret(s.ARN) })
	view(t, db, func(tx *meta.Tx) error {
		if versions, err := tx.SecretVersions(s.ARN); err != nil || len(versions) != 0 {
			t.Errorf("versions of a secret that is gone: %+v, %v", versions, err)
		}
		return nil
	})
}
