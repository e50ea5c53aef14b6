package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/internal/meta"
)

// Rotation (KMS API reference, EnableKeyRotation and RotateKeyOnDemand).
const (
	defaultRotation  = 365 // days
	minRotation      = 90
	maxRotation      = 2560
	maxOnDemand      = 25 // times in the life of a key
	rotatedAutomatic = "AUTOMATIC"
	rotatedOnDemand  = "ON_DEMAND"
)

// batch is how many keys or materials a transaction of the background handles.
const batch = 32

// EnableRotation makes new material every days from now on; 0 is the default of 365.
func (k *KMS) EnableRotation(ctx context.Context, arn string, days int) error {
	if days == 0 {
		days = defaultRotation
	}
	if days < minRotation || days > maxRotation {
		return refuse(Validation, "RotationPeriodInDays must be between 90 and 2560 inclusive")
	}
	_, err := k.change(ctx, arn, func(_ *meta.Tx, key *meta.KMSKey) error {
		if key.RotationDays != days {
			key.RotationDays, key.RotationAt = days, k.stamp().AddDate(0, 0, days)
		}
		return usable(*key)
	})
	return err
}

// DisableRotation ends it; what was rotated stays.
func (k *KMS) DisableRotation(ctx context.Context, arn string) error {
	_, err := k.change(ctx, arn, func(_ *meta.Tx, key *meta.KMSKey) error {
		key.RotationDays, key.RotationAt = 0, time.Time{}
		return usable(*key)
	})
	return err
}

// Rotate makes new material now.
func (k *KMS) Rotate(ctx context.Context, arn string) (meta.KMSKey, error) {
	n, err := k.byARN(arn)
	if err != nil {
		return meta.KMSKey{}, err
	}
	key, err := k.find(ctx, n)
	if err != nil {
		return key, err
	}
	version, err := k.newVersion(ctx, key.ARN, rotatedOnDemand)
	if err != nil {
		return key, err
	}
	return k.change(ctx, key.ARN, func(tx *meta.Tx, key *meta.KMSKey) error {
		if err := usable(*key); err != nil {
			return err
		}
		done, err := onDemandRotations(tx, key.ARN)
		if err != nil {
			return err
		}
		if done >= maxOnDemand {
			return refuse(LimitExceeded, "The on-demand rotations limit has been reached for the given keyId. "+
				"No more on-demand rotations can be performed for this key: "+key.ID)
		}
		v := version
		return tx.InsertKMSKeyVersion(&v)
	})
}

func onDemandRotations(tx *meta.Tx, arn string) (n int, err error) {
	for after := int64(0); ; {
		versions, err := tx.KMSKeyVersions(arn, after, batch)
		if err != nil || len(versions) == 0 {
			return n, err
		}
		for _, v := range versions {
			if v.Rotation == rotatedOnDemand {
				n++
			}
			after = v.Number
		}
	}
}

// Materials lists up to limit materials of a key by age, after a number, and
// whether there are more. None of them shows the material itself.
func (k *KMS) Materials(ctx context.Context, arn string, after int64, limit int) (out []meta.KMSKeyVersion, more bool, err error) {
	n, err := k.byARN(arn)
	if err != nil {
		return nil, false, err
	}
	err = k.db.View(ctx, func(tx *meta.Tx) error {
		key, err := k.load(tx, n)
		if err != nil {
			return err
		}
		out, err = tx.KMSKeyVersions(key.ARN, after, limit+1)
		return err
	})
	for i := range out {
		out[i].Wrapped = nil
	}
	out, more = page(out, limit)
	return out, more, err
}

// Sweep destroys keys whose deletion date has passed and rotates those whose
// rotation is due. A key that fails keeps no other from its turn.
func (k *KMS) Sweep(ctx context.Context) error {
	failed := []error{k.reap(ctx)}
	for after := ""; ; {
		var due []meta.KMSKey
		err := k.db.View(ctx, func(tx *meta.Tx) (err error) {
			due, err = tx.RotatableKMSKeys(Enabled, k.now(), after, batch)
			return err
		})
		if err != nil || len(due) == 0 {
			return errors.Join(append(failed, err)...)
		}
		for _, key := range due {
			after = key.ARN
			if err := k.rotateDue(ctx, key.ARN); err != nil {
				failed = append(failed, fmt.Errorf("rotate the key %s: %w", key.ARN, err))
			}
		}
	}
}

// rotateDue rotates a key unless another server has done so.
func (k *KMS) rotateDue(ctx context.Context, arn string) error {
	version, err := k.newVersion(ctx, arn, rotatedAutomatic)
	if err != nil {
		return err
	}
	return k.db.Update(ctx, func(tx *meta.Tx) error {
		key, err := tx.KMSKey(arn)
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if key.State != Enabled || key.RotationDays == 0 || key.RotationAt.After(k.now()) {
			return nil
		}
		key.RotationAt = k.stamp().AddDate(0, 0, key.RotationDays)
		v := version
		if err := tx.InsertKMSKeyVersion(&v); err != nil {
			return err
		}
		return tx.SaveKMSKey(key)
	})
}

// reap destroys keys whose deletion date has passed.
func (k *KMS) reap(ctx context.Context) error {
	for {
		var due []meta.KMSKey
		err := k.db.View(ctx, func(tx *meta.Tx) (err error) {
			due, err = tx.DeletableKMSKeys(k.now(), batch)
			return err
		})
		if err != nil || len(due) == 0 {
			return err
		}
		err = k.db.Update(ctx, func(tx *meta.Tx) error {
			for _, listed := range due {
				key, err := tx.KMSKey(listed.ARN) // its deletion may be cancelled by now
				if errors.Is(err, meta.ErrNotFound) || err == nil && !k.expired(key) {
					continue
				}
				if err != nil {
					return err
				}
				if err := tx.DeleteKMSKey(key.ARN); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// A staleness tells which wrapped keys another than the current master key wrapped.
type staleness interface{ Stale(wrapped []byte) bool }

// Rewrap wraps all material under the current master key and returns how many
// there were to wrap. It may be broken off and begun again; where the master key
// can tell, what is done is not done twice.
func (k *KMS) Rewrap(ctx context.Context) (n int, err error) {
	master, tells := k.master.(staleness)
	for after := int64(0); ; {
		var versions []meta.KMSKeyVersion
		err := k.db.View(ctx, func(tx *meta.Tx) (err error) {
			versions, err = tx.AllKMSKeyVersions(after, batch)
			return err
		})
		if err != nil || len(versions) == 0 {
			return n, err
		}
		after = versions[len(versions)-1].Number
		renewed := map[string][]byte{}
		for _, v := range versions {
			if tells && !master.Stale(v.Wrapped) {
				continue
			}
			material, err := k.material(ctx, v)
			if err != nil {
				return n, fmt.Errorf("unwrap the material %s of %s: %w", v.ID, v.ARN, err)
			}
			if renewed[v.ID], err = k.master.Wrap(ctx, material, masterContext(v)); err != nil {
				return n, fmt.Errorf("wrap the material %s of %s: %w", v.ID, v.ARN, err)
			}
		}
		if err := k.saveWrapped(ctx, renewed); err != nil {
			return n, err
		}
		n += len(renewed)
	}
}

func (k *KMS) saveWrapped(ctx context.Context, renewed map[string][]byte) error {
	if len(renewed) == 0 {
		return nil
	}
	return k.db.Update(ctx, func(tx *meta.Tx) error {
		for id, wrapped := range renewed {
			if err := tx.RewrapKMSKeyVersion(id, wrapped); err != nil && !errors.Is(err, meta.ErrNotFound) {
				return err // one that is gone needs no wrapping
			}
		}
		return nil
	})
}
