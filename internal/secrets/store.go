package secrets

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"berth/internal/access"
	"berth/internal/kms"
	"berth/internal/meta"
)

// Stages that the service itself gives (Secrets Manager User Guide, "Secret
// versions").
const (
	Current  = "AWSCURRENT"
	Previous = "AWSPREVIOUS"
)

// Limits of AWS ("Secrets Manager quotas").
const (
	maxVersions = 100
	maxStages   = 20
	maxTags     = 50
	MaxValue    = 65536 // bytes
)

// ServiceKey is the alias of the key with which secrets are sealed that name
// none: here the installation's master key.
const ServiceKey = "alias/aws/secretsmanager"

// Store keeps secrets. Its methods may be called at the same time.
type Store struct {
	db     *meta.DB
	master kms.Wrapper
	keys   kms.Provider
	now    func() time.Time
}

// New makes a store on a database. keys answers for the KMS keys that secrets name.
func New(db *meta.DB, master kms.Wrapper, keys kms.Provider, now func() time.Time) *Store {
	return &Store{db: db, master: master, keys: keys, now: now}
}

// nameParts are six letters and numbers at the end of an ARN, so that a secret
// that is made again has another one.
var nameParts = regexp.MustCompile(`-[A-Za-z0-9]{6}$`)

// NewARN makes an ARN for a secret of that name.
func NewARN(s meta.Scope, name string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	suffix := make([]byte, 6)
	_, _ = rand.Read(suffix) // never fails (crypto/rand)
	for i, b := range suffix {
		suffix[i] = letters[int(b)%len(letters)]
	}
	return prefix(s) + name + "-" + string(suffix)
}

func prefix(s meta.Scope) string {
	partition := "aws"
	switch {
	case strings.HasPrefix(s.Region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(s.Region, "us-gov-"):
		partition = "aws-us-gov"
	}
	return "arn:" + partition + ":secretsmanager:" + s.Region + ":" + s.Account + ":secret:"
}

// ScopeOf is the account and region of a secret's ARN; false: it is none.
func ScopeOf(arn string) (meta.Scope, bool) {
	parts := strings.SplitN(arn, ":", 7)
	if len(parts) != 7 || parts[0] != "arn" || parts[2] != "secretsmanager" || parts[5] != "secret" || parts[6] == "" {
		return meta.Scope{}, false
	}
	return meta.Scope{Region: parts[3], Account: parts[4]}, true
}

// Find finds a secret by its ARN, its ARN without the end, or its name, also one
// that was deleted. A secret that is not there has an ARN without an end, for
// questions of permission, and the error.
func (s *Store) Find(ctx context.Context, scope meta.Scope, id string) (meta.Secret, error) {
	name := id
	if of, ok := ScopeOf(id); ok {
		scope, name = of, strings.TrimPrefix(id, prefix(of))
	}
	var out meta.Secret
	err := s.db.View(ctx, func(tx *meta.Tx) (err error) {
		if name != id { // an ARN
			if out, err = tx.Secret(id); !errors.Is(err, meta.ErrNotFound) {
				return err
			}
		}
		out, err = tx.SecretNamed(scope, name)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		arn := prefix(scope) + name
		if name != id {
			arn = id
		}
		return meta.Secret{ARN: arn, Scope: scope, Name: nameParts.ReplaceAllString(name, "")}, notFound()
	}
	return out, err
}

// A NewSecret is what Create is asked for.
type NewSecret struct {
	ARN         string // of [NewARN]
	Name        string
	Description string
	KMSKey      string
	Token       string // becomes the id of the first version; empty: one is made
	Value       *Value // nil: none yet
	Tags        map[string]string
}

// Create adds a secret, with a first version when there is a value. The same
// request again, by its token, changes nothing.
func (s *Store) Create(ctx context.Context, scope meta.Scope, n NewSecret) (out meta.Secret, version string, err error) {
	if err := checkTags(n.Tags); err != nil {
		return out, "", err
	}
	now := s.now()
	out = meta.Secret{
		ARN: n.ARN, Scope: scope, Name: n.Name, Description: n.Description, KMSKey: n.KMSKey, Tags: n.Tags, CreatedAt: now, ChangedAt: now,
	}
	have, err := s.Find(ctx, scope, n.Name)
	if err == nil {
		return s.createdBefore(ctx, have, n)
	}
	var first *meta.SecretVersion
	if n.Value != nil {
		if first, err = s.newVersion(ctx, out, n.Token, *n.Value, []string{Current}); err != nil {
			return out, "", err
		}
		version = first.ID
	} else if _, err := s.keyOf(ctx, out); err != nil {
		return out, "", err
	}
	err = s.db.Update(ctx, func(tx *meta.Tx) error {
		if err := tx.InsertSecret(out); err != nil {
			return err
		}
		if first == nil {
			return nil
		}
		return tx.PutSecretVersion(*first)
	})
	if errors.Is(err, meta.ErrExists) {
		err = refuse(Exists, "The operation failed because the secret %s already exists.", n.Name)
	}
	return out, version, err
}

// createdBefore answers a request for a secret whose name is taken.
func (s *Store) createdBefore(ctx context.Context, have meta.Secret, n NewSecret) (meta.Secret, string, error) {
	if !have.DeletedAt.IsZero() {
		return have, "", refuse(InvalidRequest, "You can't create this secret because a secret with this name is already scheduled for deletion.")
	}
	if n.Token != "" && n.Value != nil {
		_, v, value, err := s.Value(ctx, have, n.Token, "")
		if err == nil && value.Binary == n.Value.Binary && string(value.Bytes) == string(n.Value.Bytes) {
			return have, v.ID, nil
		}
	}
	return have, "", refuse(Exists, "The operation failed because the secret %s already exists.", n.Name)
}

// keyOf is the ARN of the KMS key that wraps the keys of a secret from now on;
// empty: the master key does.
func (s *Store) keyOf(ctx context.Context, v meta.Secret) (string, error) {
	if v.KMSKey == "" || v.KMSKey == ServiceKey {
		return "", nil
	}
	arn, err := s.keys.Resolve(ctx, v.Scope.Account, v.Scope.Region, v.KMSKey)
	var refused *kms.Error
	if errors.As(err, &refused) {
		return "", &Error{Code: EncryptionFailure, Message: "Secrets Manager can't encrypt the protected secret text using the provided KMS key: " + refused.Message, Err: err}
	}
	return arn, err
}

// newVersion seals a value for a secret.
func (s *Store) newVersion(ctx context.Context, of meta.Secret, token string, value Value, stages []string) (*meta.SecretVersion, error) {
	if len(value.Bytes) > MaxValue {
		return nil, refuse(InvalidParameter, "The value of the secret is larger than the limit of %d bytes.", MaxValue)
	}
	if token == "" {
		token = uuid.NewString()
	}
	key, err := s.keyOf(ctx, of)
	if err != nil {
		return nil, err
	}
	v := &meta.SecretVersion{ARN: of.ARN, ID: token, Stages: stages, KMSKey: key, CreatedAt: s.now()}
	return v, s.seal(ctx, v, value)
}

// Put gives a secret another value. With no stages it is the current one from
// now on. The same request again, by its token, changes nothing.
func (s *Store) Put(ctx context.Context, of meta.Secret, token string, value Value, stages []string) (*meta.SecretVersion, error) {
	if !of.DeletedAt.IsZero() {
		return nil, deleted()
	}
	if len(stages) == 0 {
		stages = []string{Current}
	}
	if len(stages) > maxStages {
		return nil, refuse(LimitExceeded, "A version of a secret can have at most %d staging labels.", maxStages)
	}
	if token != "" {
		_, have, old, err := s.Value(ctx, of, token, "")
		var refused *Error
		switch {
		case err == nil && old.Binary == value.Binary && string(old.Bytes) == string(value.Bytes):
			return &have, nil
		case err == nil:
			return nil, refuse(Exists, "You can't modify an existing version, you can only create new versions.")
		case !errors.As(err, &refused) || refused.Code != NotFound:
			return nil, err
		}
	}
	v, err := s.newVersion(ctx, of, token, value, stages)
	if err != nil {
		return nil, err
	}
	return v, s.change(ctx, of.ARN, func(tx *meta.Tx, now *meta.Secret) error {
		versions, err := tx.SecretVersions(of.ARN)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(versions, func(o meta.SecretVersion) bool { return slices.Contains(o.Stages, Current) }) && !slices.Contains(v.Stages, Current) {
			v.Stages = append([]string{Current}, v.Stages...) // the first value is the current one, whatever it is called
		}
		for _, stage := range v.Stages {
			moveStage(versions, stage, "")
		}
		return saveVersions(tx, append(versions, *v))
	})
}

// moveStage takes a stage from the version that has it and gives it to another;
// an empty id takes it only. With AWSCURRENT goes AWSPREVIOUS.
func moveStage(versions []meta.SecretVersion, stage, to string) {
	for i := range versions {
		v := &versions[i]
		had := slices.Contains(v.Stages, stage)
		v.Stages = slices.DeleteFunc(v.Stages, func(have string) bool { return have == stage })
		if had && stage == Current && v.ID != to {
			moveStage(versions, Previous, v.ID)
		}
	}
	for i := range versions {
		if versions[i].ID == to {
			versions[i].Stages = append(versions[i].Stages, stage)
		}
	}
}

// saveVersions stores versions, and forgets the oldest ones without a stage that
// are too many.
func saveVersions(tx *meta.Tx, versions []meta.SecretVersion) error {
	extra := len(versions) - maxVersions
	for _, v := range versions {
		if extra > 0 && len(v.Stages) == 0 {
			extra--
			if err := tx.DeleteSecretVersion(v.ARN, v.ID); err != nil {
				return err
			}
			continue
		}
		if err := tx.PutSecretVersion(v); err != nil {
			return err
		}
	}
	if extra > 0 {
		return refuse(LimitExceeded, "A secret can have at most %d versions with staging labels.", maxVersions)
	}
	return nil
}

// change changes a secret in a transaction, and notes the time.
func (s *Store) change(ctx context.Context, arn string, fn func(*meta.Tx, *meta.Secret) error) error {
	return s.db.Update(ctx, func(tx *meta.Tx) error {
		now, err := tx.Secret(arn)
		if errors.Is(err, meta.ErrNotFound) {
			return notFound()
		}
		if err != nil {
			return err
		}
		now.ChangedAt = s.now()
		if err := fn(tx, &now); err != nil {
			return err
		}
		return tx.SaveSecret(now)
	})
}

// Versions lists the versions of a secret by age.
func (s *Store) Versions(ctx context.Context, arn string) (list []meta.SecretVersion, err error) {
	err = s.db.View(ctx, func(tx *meta.Tx) error {
		list, err = tx.SecretVersions(arn)
		return err
	})
	return list, err
}

// Value reads the value of a version, by its id, its stage, or both when they
// must agree; with neither, the current one.
func (s *Store) Value(ctx context.Context, of meta.Secret, id, stage string) (meta.Secret, meta.SecretVersion, Value, error) {
	none := meta.SecretVersion{}
	if !of.DeletedAt.IsZero() {
		return of, none, Value{}, deleted()
	}
	if id == "" && stage == "" {
		stage = Current
	}
	versions, err := s.Versions(ctx, of.ARN)
	if err != nil {
		return of, none, Value{}, err
	}
	for _, v := range versions {
		if id != "" && v.ID != id {
			continue
		}
		if stage != "" && !slices.Contains(v.Stages, stage) {
			if id == "" {
				continue
			}
			return of, none, Value{}, refuse(InvalidRequest, "You provided a VersionStage that is not associated to the provided VersionId.")
		}
		value, err := s.open(ctx, v)
		return of, v, value, err
	}
	what := "VersionId: " + id
	if id == "" {
		what = "staging label: " + stage
	}
	return of, none, Value{}, refuse(NotFound, "Secrets Manager can't find the specified secret value for %s", what)
}

// NoteAccess notes the day of the last reading, once a day.
func (s *Store) NoteAccess(ctx context.Context, of meta.Secret, v meta.SecretVersion) error {
	day := s.now().UTC().Truncate(24 * time.Hour)
	if of.AccessedAt.Equal(day) && v.AccessedAt.Equal(day) {
		return nil
	}
	return s.db.Update(ctx, func(tx *meta.Tx) error {
		now, err := tx.Secret(of.ARN)
		if err != nil {
			if errors.Is(err, meta.ErrNotFound) {
				return nil
			}
			return err
		}
		versions, err := tx.SecretVersions(of.ARN)
		if err != nil {
			return err
		}
		for _, one := range versions {
			if one.ID == v.ID {
				one.AccessedAt = day
				if err := tx.PutSecretVersion(one); err != nil {
					return err
				}
			}
		}
		now.AccessedAt = day
		return tx.SaveSecret(now)
	})
}

// MoveStage moves a stage from one version of a secret to another, takes it, or
// gives it (API_UpdateSecretVersionStage).
func (s *Store) MoveStage(ctx context.Context, of meta.Secret, stage, from, to string) error {
	if !of.DeletedAt.IsZero() {
		return deleted()
	}
	return s.change(ctx, of.ARN, func(tx *meta.Tx, _ *meta.Secret) error {
		versions, err := tx.SecretVersions(of.ARN)
		if err != nil {
			return err
		}
		has, known := "", to == ""
		for _, v := range versions {
			if slices.Contains(v.Stages, stage) {
				has = v.ID
			}
			known = known || v.ID == to
		}
		switch {
		case !known:
			return refuse(NotFound, "Secrets Manager can't find the specified secret version.")
		case to == "" && stage == Current:
			return refuse(InvalidParameter, "You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed.")
		case has != "" && has != to && from != has:
			return refuse(InvalidParameter, "The parameter RemoveFromVersionId can't be empty. Staging label %s is currently attached to version %s, so you must explicitly reference that version in RemoveFromVersionId.", stage, has)
		case from != "" && from != has:
			return refuse(InvalidParameter, "The staging label %s is not attached to version %s.", stage, from)
		}
		moveStage(versions, stage, to)
		return saveVersions(tx, versions)
	})
}

// An Update is what UpdateSecret changes; nil leaves it as it is.
type Update struct {
	Description *string
	KMSKey      *string
}

// Update changes what is said of a secret.
func (s *Store) Update(ctx context.Context, of meta.Secret, u Update) (meta.Secret, error) {
	if !of.DeletedAt.IsZero() {
		return of, deleted()
	}
	if u.KMSKey != nil {
		of.KMSKey = *u.KMSKey
		if _, err := s.keyOf(ctx, of); err != nil {
			return of, err
		}
	}
	err := s.change(ctx, of.ARN, func(_ *meta.Tx, now *meta.Secret) error {
		if u.Description != nil {
			now.Description = *u.Description
		}
		if u.KMSKey != nil {
			now.KMSKey = *u.KMSKey
		}
		of = *now
		return nil
	})
	return of, err
}

// Delete marks a secret; it is gone after some days, or at once.
func (s *Store) Delete(ctx context.Context, of meta.Secret, days int, force bool) (at time.Time, err error) {
	now := s.now()
	if force {
		err := s.db.Update(ctx, func(tx *meta.Tx) error { return tx.DeleteSecret(of.ARN) })
		if errors.Is(err, meta.ErrNotFound) {
			err = nil
		}
		return now, err
	}
	if !of.DeletedAt.IsZero() {
		return at, deleted()
	}
	at = now.Add(time.Duration(days) * 24 * time.Hour)
	return at, s.change(ctx, of.ARN, func(_ *meta.Tx, v *meta.Secret) error {
		v.DeletedAt, v.DeleteAt = now, at
		return nil
	})
}

// Restore takes a deletion back.
func (s *Store) Restore(ctx context.Context, of meta.Secret) error {
	return s.change(ctx, of.ARN, func(_ *meta.Tx, v *meta.Secret) error {
		v.DeletedAt, v.DeleteAt = time.Time{}, time.Time{}
		return nil
	})
}

// Sweep removes the secrets whose time has come.
func (s *Store) Sweep(ctx context.Context) error {
	return s.db.Update(ctx, func(tx *meta.Tx) error { return tx.DeleteDueSecrets(s.now()) })
}

// List lists up to limit secrets in the order of their names, after the one given.
func (s *Store) List(ctx context.Context, scope meta.Scope, after string, withDeleted bool, limit int) (list []meta.Secret, more bool, err error) {
	err = s.db.View(ctx, func(tx *meta.Tx) error {
		list, err = tx.Secrets(scope, after, withDeleted, limit+1)
		return err
	})
	if len(list) > limit {
		return list[:limit], true, err
	}
	return list, false, err
}

// SetTags adds tags, replaces those with the same keys, and removes others.
func (s *Store) SetTags(ctx context.Context, of meta.Secret, add map[string]string, remove []string) error {
	if !of.DeletedAt.IsZero() {
		return deleted()
	}
	return s.change(ctx, of.ARN, func(_ *meta.Tx, now *meta.Secret) error {
		tags := maps.Clone(now.Tags)
		if tags == nil {
			tags = map[string]string{}
		}
		maps.Copy(tags, add)
		for _, k := range remove {
			delete(tags, k)
		}
		now.Tags = tags
		return checkTags(tags)
	})
}

// checkTags applies AWS's rules for tags.
func checkTags(tags map[string]string) error {
	for k := range tags {
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			return refuse(InvalidParameter, "Tag keys starting with 'aws:' are reserved for system use: %s", k)
		}
	}
	if len(tags) > maxTags {
		return refuse(InvalidParameter, "A secret can have at most %d tags.", maxTags)
	}
	return nil
}

// TagsOf reads the tags of the secret that an ARN names, for conditions on them.
func (s *Store) TagsOf(ctx context.Context, arn string) ([]access.Tag, error) {
	v, err := s.Find(ctx, meta.Scope{}, arn)
	var refused *Error
	if errors.As(err, &refused) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the tags of the secret %s: %w", arn, err)
	}
	var out []access.Tag
	for _, k := range slices.Sorted(maps.Keys(v.Tags)) {
		out = append(out, access.Tag{Key: k, Value: v.Tags[k]})
	}
	return out, nil
}
