package server

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"berth/internal/audit"
	"berth/internal/kms"
	"berth/internal/kms/aws"
	"berth/internal/kms/keyring"
	"berth/internal/kms/local"
	"berth/internal/kms/vault"
	"berth/internal/meta"
)

// MasterKeyFile is where the master key lies, below the data directory, unless
// the configuration says otherwise.
const MasterKeyFile = "master.key"

// BuiltinKMS is the setting of --kms that keeps KMS keys in the database.
const BuiltinKMS = "builtin"

var errKMS = errors.New(`the KMS is none of: "builtin"; "aws", or "aws:" and the URL of an endpoint; "vault:" and Vault's URL, with ?mount= and &namespace= where needed: see --kms`)

// openKeyPlace opens the place outside the database where KMS keys are, or nil
// when they are in it.
func openKeyPlace(ctx context.Context, cfg Config) (kms.Provider, error) {
	place, rest, _ := strings.Cut(cfg.KMS, ":")
	switch place {
	case "", BuiltinKMS:
		return nil, nil
	case "aws":
		var options []func(*config.LoadOptions) error
		if cfg.Region != "" {
			options = append(options, config.WithRegion(cfg.Region))
		}
		c, err := config.LoadDefaultConfig(ctx, options...)
		if err != nil {
			return nil, fmt.Errorf("load the AWS configuration for KMS: %w", err)
		}
		return aws.New(c, rest), nil
	case "vault":
		return openVault(rest, cfg.VaultToken)
	default:
		return nil, errKMS
	}
}

func openVault(address string, token func(context.Context) (string, error)) (kms.Provider, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errKMS
	}
	q := u.Query()
	u.RawQuery = ""
	p, err := vault.New(vault.Options{Address: u.String(), Mount: q.Get("mount"), Namespace: q.Get("namespace"), Token: token})
	if err != nil {
		return nil, fmt.Errorf("open Vault for KMS keys: %w", err)
	}
	return p, nil
}

// openMaster opens the master key: a key of the KMS when the setting is its
// ARN, else the keyring in a file.
func (s *Storage) openMaster(ctx context.Context, cfg Config, place kms.Provider) error {
	if !strings.HasPrefix(cfg.MasterKey, "arn:") {
		return s.openKeyring(ctx, cfg)
	}
	if place == nil {
		return errors.New("a KMS key as the master key needs a KMS outside the database: give --kms aws or --kms vault:URL too")
	}
	s.master, s.masterARN = place.Key(cfg.MasterKey), cfg.MasterKey
	proof, err := s.ensureProof(ctx)
	if err != nil {
		return err
	}
	if _, err := s.master.Unwrap(ctx, proof, purpose(MasterProof)); err != nil {
		return fmt.Errorf("the KMS key %s is not the master key that the database was made with, or cannot be used now: %w", cfg.MasterKey, err)
	}
	return nil
}

// MasterProof is the setting that only the installation's master key opens.
const MasterProof = "master-key-proof"

// openKeyring opens the keyring, which is made on the first start of an
// installation, and makes sure that it is the one that the database was made
// with: another would seal what nobody could open.
func (s *Storage) openKeyring(ctx context.Context, cfg Config) (err error) {
	path := masterKeyPath(cfg)
	made, err := s.hasProof(ctx)
	if err != nil {
		return err
	}
	open := keyring.OpenOrCreate
	if made {
		open = keyring.Open
	}
	if s.Keyring, err = open(path); err != nil {
		if made {
			err = fmt.Errorf("the database needs the master key that it was made with, in %s: %w: copy that file from the server that made it, or from its backup", path, err)
		}
		return err
	}
	s.master = s.Keyring
	proof, err := s.ensureProof(ctx)
	if err != nil {
		return err
	}
	return proveKeyring(ctx, s.Keyring, path, proof)
}

func masterKeyPath(cfg Config) string {
	if cfg.MasterKey != "" {
		return cfg.MasterKey
	}
	return filepath.Join(cfg.Data, MasterKeyFile)
}

func proveKeyring(ctx context.Context, keys *keyring.Keyring, path string, proof []byte) error {
	if _, err := keys.Unwrap(ctx, proof, purpose(MasterProof)); err != nil {
		return fmt.Errorf("the master key in %s is not the one that the database was made with: copy that file from the server that made it, or name it with --master-key", path)
	}
	return nil
}

// ErrNoKeyring says that the master key is in a KMS, which keeps and rotates it.
var ErrNoKeyring = errors.New("the master key is in a KMS and not in a file: keep and rotate it there")

func (s *Storage) hasProof(ctx context.Context) (bool, error) {
	err := s.DB.Read(ctx, func(tx *meta.Tx) error { _, err := tx.Setting(MasterProof); return err })
	if errors.Is(err, meta.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// ensureProof gives the proof, which the first start makes.
func (s *Storage) ensureProof(ctx context.Context) (proof []byte, err error) {
	made, err := s.hasProof(ctx)
	if err != nil {
		return nil, err
	}
	var fresh []byte
	if !made {
		if fresh, err = s.master.Wrap(ctx, []byte(MasterProof), purpose(MasterProof)); err != nil {
			return nil, fmt.Errorf("use the master key: %w", err)
		}
	}
	err = s.DB.Update(ctx, func(tx *meta.Tx) (err error) {
		if made {
			proof, err = tx.Setting(MasterProof)
			return err
		}
		proof, err = tx.EnsureSetting(MasterProof, fresh)
		return err
	})
	return proof, err
}

// openKMS makes the built-in KMS, and settles where the keys of repositories are.
func (s *Storage) openKMS(cfg Config, place kms.Provider) {
	s.KMS = local.New(s.DB, s.master, time.Now, local.Options{CreateMissing: cfg.CreateKMSKeys})
	s.keys = place
	if place == nil {
		s.keys = s.KMS
	}
}

// MasterKeyIDs name the master keys that may be needed to open what is stored.
func (s *Storage) MasterKeyIDs() []string {
	if s.Keyring == nil {
		return []string{s.masterARN}
	}
	return s.Keyring.IDs()
}

// MasterKeys are the master keys and all that they wrap.
func (s *Storage) MasterKeys() audit.Keys {
	return audit.Keys{
		Master: s.Keyring,
		Rewrap: []func(context.Context) (int, error){s.KMS.Rewrap, s.rewrapOwn, s.rewrapSecrets},
		Uses:   s.masterKeysInUse,
	}
}

// rewrapSecrets wraps the keys of secrets under the current master key.
func (s *Storage) rewrapSecrets(ctx context.Context) (int, error) {
	return s.Secrets.Rewrap(ctx, s.Keyring.Stale)
}

// masterKeysInUse lists the master keys that wrap a key of the installation, of
// the built-in KMS or of a secret.
func (s *Storage) masterKeysInUse(ctx context.Context) (used []string, err error) {
	var id string
	for _, name := range underMasterKey() {
		wrapped, err := s.setting(ctx, name)
		if err != nil {
			return nil, err
		}
		if id, err = s.Keyring.KeyID(wrapped); err != nil {
			return nil, err
		}
		used = append(used, id)
	}
	for after := int64(0); err == nil; {
		var page []meta.KMSKeyVersion
		err = s.DB.View(ctx, func(tx *meta.Tx) (err error) {
			page, err = tx.AllKMSKeyVersions(after, 100)
			return err
		})
		if err != nil || len(page) == 0 {
			break
		}
		for _, v := range page {
			after = v.Number
			if id, err = s.Keyring.KeyID(v.Wrapped); err != nil {
				return nil, err
			}
			used = append(used, id)
		}
	}
	if err != nil {
		return nil, err
	}
	err = s.Secrets.Wrapped(ctx, func(wrapped []byte) error {
		id, err := s.Keyring.KeyID(wrapped)
		used = append(used, id)
		return err
	})
	return used, err
}
