package local

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"berth/internal/access/policy"
	"berth/internal/kms"
	"berth/internal/meta"
)

// States of a key (KMS API reference, KeyMetadata, KeyState).
const (
	Enabled         = "Enabled"
	Disabled        = "Disabled"
	PendingDeletion = "PendingDeletion"
)

// Who manages a key (KMS API reference, KeyMetadata, KeyManager).
const (
	Customer = "CUSTOMER"
	AWS      = "AWS"
)

// The one kind of key there is.
const (
	Usage = "ENCRYPT_DECRYPT"
	Spec  = "SYMMETRIC_DEFAULT"
)

// ErrManaged says that a user asks of an AWS managed key what only services
// may: its policy allows everybody else to read what it is, no more (KMS
// Developer Guide, "AWS managed keys").
var ErrManaged = errors.New("the key is managed by AWS")

// Options change what a KMS does.
type Options struct {
	// CreateMissing makes a key that does not exist when Resolve meets its ARN,
	// whatever the account and region in it. It is for trying a production
	// configuration where its keys are not.
	CreateMissing bool
}

// KMS is the built-in KMS.
type KMS struct {
	db       *meta.DB
	master   kms.Wrapper
	now      func() time.Time
	opt      Options
	patterns patterns
	policies meta.Kept[*policy.Compiled] // of keys, by ARN
}

// New makes a KMS whose material is wrapped by a master key.
func New(db *meta.DB, master kms.Wrapper, now func() time.Time, o Options) *KMS {
	return &KMS{db: db, master: master, now: now, opt: o, patterns: compilePatterns()}
}

// CacheFor implements [kms.Provider]: a key that is disabled stops at once.
func (*KMS) CacheFor() time.Duration { return 0 }

// Resolve implements [kms.Provider].
func (k *KMS) Resolve(ctx context.Context, account, region, text string) (string, error) {
	scope := meta.Scope{Account: account, Region: region}
	n, err := k.patterns.parse(scope, text)
	if err != nil {
		return "", err
	}
	if n.full && n.scope.Region != region && !k.opt.CreateMissing {
		return "", refuse(kms.NotFound, "Invalid arn "+n.scope.Region)
	}
	key, err := k.find(ctx, n)
	if isAbsent(err) {
		switch {
		case n.alias == ECRAlias && n.scope == scope:
			key, err = k.createManaged(ctx, n)
		case n.full && n.alias == "" && k.opt.CreateMissing:
			key, err = k.createMissing(ctx, n, account)
		}
	}
	if err != nil {
		return "", err
	}
	return key.ARN, usable(key)
}

// Locate gives the ARN of the key that a request from a scope names, and the
// key's account; for an alias that does not exist they are those of the alias,
// and every operation on that ARN says so. It does not tell whether a key exists.
func (k *KMS) Locate(ctx context.Context, s meta.Scope, text string) (arn, account string, err error) {
	n, err := k.patterns.parse(s, text)
	if err != nil {
		return "", "", err
	}
	if n.scope.Region != s.Region {
		return "", "", refuse(kms.NotFound, "Invalid arn "+n.scope.Region)
	}
	if n.alias == "" {
		return n.arn, n.scope.Account, nil
	}
	key, err := k.find(ctx, n)
	if isAbsent(err) {
		return n.arn, n.scope.Account, nil
	}
	return key.ARN, key.Scope.Account, err
}

func isAbsent(err error) bool {
	var e *kms.Error
	return errors.As(err, &e) && e.Code == kms.NotFound
}

// usable refuses keys that encrypt and decrypt nothing now (KMS Developer Guide,
// "Key states of AWS KMS keys").
func usable(key meta.KMSKey) error {
	switch key.State {
	case Enabled:
		return nil
	case Disabled:
		return refuse(kms.Disabled, key.ARN+" is disabled.")
	}
	return notPending(key)
}

// notPending refuses keys that are about to be deleted.
func notPending(key meta.KMSKey) error {
	if key.State == PendingDeletion {
		return refuse(kms.InvalidState, key.ARN+" is pending deletion.")
	}
	return nil
}

// find reads the key with a name.
func (k *KMS) find(ctx context.Context, n name) (key meta.KMSKey, err error) {
	err = k.db.View(ctx, func(tx *meta.Tx) (err error) {
		key, err = k.load(tx, n)
		return err
	})
	return key, err
}

// load reads the key with a name in a transaction. A key whose deletion date has
// passed does not exist.
func (k *KMS) load(tx *meta.Tx, n name) (meta.KMSKey, error) {
	arn := n.arn
	if n.alias != "" {
		a, err := tx.KMSAlias(n.scope, n.alias)
		if errors.Is(err, meta.ErrNotFound) {
			return meta.KMSKey{}, absent(n)
		}
		if err != nil {
			return meta.KMSKey{}, err
		}
		arn = a.ARN
	}
	key, err := tx.KMSKey(arn)
	if errors.Is(err, meta.ErrNotFound) || err == nil && k.expired(key) {
		return meta.KMSKey{}, absent(n)
	}
	return key, err
}

func (k *KMS) expired(key meta.KMSKey) bool {
	return key.State == PendingDeletion && !k.now().Before(key.DeletionAt)
}

// byARN is the name of the key or alias with an ARN.
func (k *KMS) byARN(arn string) (name, error) {
	if !strings.HasPrefix(arn, "arn:") {
		return name{}, refuse(kms.InvalidARN, "Invalid arn "+arn)
	}
	return k.patterns.parse(meta.Scope{}, arn)
}

// insert adds a key with its first material and, unless it is empty, an alias.
// One that exists already is left alone: meta.ErrExists.
func (k *KMS) insert(ctx context.Context, key meta.KMSKey, alias string) error {
	version, err := k.newVersion(ctx, key.ARN, "")
	if err != nil {
		return err
	}
	if err := k.reap(ctx); err != nil {
		return err // a key of the same name may be past its date
	}
	return k.db.Update(ctx, func(tx *meta.Tx) error {
		if err := tx.InsertKMSKey(key); err != nil {
			return err
		}
		v := version
		if err := tx.InsertKMSKeyVersion(&v); err != nil {
			return err
		}
		if alias == "" {
			return nil
		}
		return tx.InsertKMSAlias(meta.KMSAlias{
			Scope: key.Scope, Name: alias, ARN: key.ARN, CreatedAt: key.CreatedAt, UpdatedAt: key.CreatedAt,
		})
	})
}

// createMissing makes the key of an ARN for the account that named it, which may
// use it although another account's number stands in the ARN. Servers that do so
// together agree.
func (k *KMS) createMissing(ctx context.Context, n name, account string) (meta.KMSKey, error) {
	_, id, _ := strings.Cut(n.arn, ":key/")
	key := k.newKey(n.scope, id)
	key.ARN = n.arn // the partition is the caller's
	key.Description = "Created because a configuration named it"
	if account != n.scope.Account {
		key.Policy = sharedPolicy(n.scope, account)
	}
	if err := k.insert(ctx, key, ""); err != nil && !errors.Is(err, meta.ErrExists) {
		return meta.KMSKey{}, err
	}
	return k.find(ctx, n)
}

// createManaged makes the AWS managed key for ECR. Servers that do so together agree.
func (k *KMS) createManaged(ctx context.Context, n name) (meta.KMSKey, error) {
	key := k.newKey(n.scope, uuid.NewString())
	key.Manager = AWS
	key.Description = "Default key that protects my ECR data when no other key is defined"
	key.Policy = managedPolicy(n.scope)
	key.RotationDays = defaultRotation // yearly (KMS Developer Guide, "Rotate AWS KMS keys")
	key.RotationAt = key.CreatedAt.AddDate(0, 0, defaultRotation)
	if err := k.insert(ctx, key, n.alias); err != nil && !errors.Is(err, meta.ErrExists) {
		return meta.KMSKey{}, err
	}
	return k.find(ctx, n)
}

// newKey is a customer's key as CreateKey makes it when asked for nothing in particular.
func (k *KMS) newKey(s meta.Scope, id string) meta.KMSKey {
	return meta.KMSKey{
		ARN: arnOf(s, "key/"+id), Scope: s, ID: id, Manager: Customer, Usage: Usage, Spec: Spec, State: Enabled,
		Policy: DefaultPolicy(s), CreatedAt: k.stamp(),
	}
}
