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
	s.master = place.Key(cfg.MasterKey)
	proof, err := s.ensureProof(ctx)
	if err != nil {
		return err
	}
	if _, err := s.master.Unwrap(ctx, proof, proofContext); err != nil {
		return fmt.Errorf("the KMS key %s is not the master key that the database was made with, or cannot be used now: %w", cfg.MasterKey, err)
	}
	return nil
}

// MasterProof is the setting that only the installation's master key opens.
const MasterProof = "master-key-proof"

var proofContext = kms.Context{"berth:purpose": MasterProof}

// openKeyring opens the keyring, which is made on the first start of an
// installation, and makes sure that it is the one that the database was made
// with: another would seal what nobody could open.
func (s *Storage) openKeyring(ctx context.Context, cfg Config) (err error) {
	path := cfg.MasterKey
	if path == "" {
		path = filepath.Join(cfg.Data, MasterKeyFile)
	}
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
	if _, err := s.master.Unwrap(ctx, proof, proofContext); err != nil {
		return fmt.Errorf("the master key in %s is not the one that the database was made with: copy that file from the server that made it, or name it with --master-key", path)
	}
	return nil
}

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
		if fresh, err = s.master.Wrap(ctx, []byte(MasterProof), proofContext); err != nil {
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
