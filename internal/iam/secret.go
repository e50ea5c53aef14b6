package iam

import (
	"context"
	"fmt"

	"berth/internal/kms"
	"berth/internal/meta"
)

// secretContext binds the sealed secret of an access key to the key's id: that
// of another row does not open in its place.
func secretContext(id string) kms.Context { return kms.Context{"berth:access-key": id} }

func (s *Store) sealSecret(ctx context.Context, c Credentials) ([]byte, error) {
	sealed, err := s.secrets.Wrap(ctx, []byte(c.SecretAccessKey), secretContext(c.AccessKeyID))
	if err != nil {
		return nil, fmt.Errorf("seal the secret of the access key %s: %w", c.AccessKeyID, err)
	}
	return sealed, nil
}

func (s *Store) openSecret(ctx context.Context, k meta.AccessKey) (string, error) {
	secret, err := s.secrets.Unwrap(ctx, k.Sealed, secretContext(k.ID))
	if err != nil {
		return "", fmt.Errorf("open the secret of the access key %s, which is to be replaced if this stays: %w", k.ID, err)
	}
	return string(secret), nil
}

// SealSecrets seals the secrets of access keys that an older version kept as
// they came. It may be stopped at any point, and several servers may do it at
// once. It costs one read when there is nothing to do.
func SealSecrets(ctx context.Context, db *meta.DB, secrets kms.Wrapper) error {
	const page = 100
	s := &Store{secrets: secrets}
	for {
		var plain []meta.PlainSecret
		err := db.Read(ctx, func(tx *meta.Tx) (err error) {
			plain, err = tx.PlainSecrets(page)
			return err
		})
		if err != nil || len(plain) == 0 {
			return err
		}
		err = db.Update(ctx, func(tx *meta.Tx) error {
			for _, p := range plain {
				sealed, err := s.sealSecret(ctx, Credentials{p.ID, p.Secret})
				if err == nil {
					err = tx.SealSecret(p, sealed)
				}
				if err != nil {
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
