package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"berth/internal/kms"
	"berth/internal/meta"
)

// keySize is the length of a data key in bytes.
const keySize = 32

// currentFor is how long a server goes on sealing with the data key that it
// knows as the youngest, after another server made a younger one.
const currentFor = 10 * time.Second

// ErrUnknownKey says that something was sealed with a data key that is not there.
var ErrUnknownKey = errors.New("the data key that sealed this is not in the database")

// Ring gives data keys. Its methods may be called at the same time.
type Ring struct {
	db     *meta.DB
	master kms.Wrapper
	keys   kms.Provider
	now    func() time.Time

	mu      sync.Mutex
	opened  map[int64]*dataKey
	current map[string]youngest // by domain
}

// youngest is the data key that seals for a domain, as far as this server knows.
type youngest struct {
	id    int64
	until time.Time
}

// A dataKey is one that was unwrapped.
type dataKey struct {
	id     int64
	domain string
	prk    []byte // HKDF's pseudorandom key, made of the data key
	text   cipher.AEAD
	until  time.Time // when its KMS key must be asked again; zero: never
}

// New makes a ring. keys answers for the domains that have a KMS key.
func New(db *meta.DB, master kms.Wrapper, keys kms.Provider, now func() time.Time) *Ring {
	return &Ring{db: db, master: master, keys: keys, now: now, opened: map[int64]*dataKey{}, current: map[string]youngest{}}
}

// Ensure makes sure that the domain has a data key and that it can be used
// now. It fails with a [kms.Error] when the domain's KMS key cannot be used.
func (r *Ring) Ensure(ctx context.Context, d Domain) error {
	_, err := r.youngest(ctx, d.Name())
	if errors.Is(err, meta.ErrNotFound) {
		return r.Renew(ctx, d)
	}
	return err
}

// Renew gives the domain a new data key, which seals from now on; other
// servers follow within seconds.
func (r *Ring) Renew(ctx context.Context, d Domain) error {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	row := meta.DataKey{Domain: d.Name(), KMSKey: d.KMSKey, CreatedAt: r.now()}
	var err error
	if row.Wrapped, err = r.wrapper(d.KMSKey).Wrap(ctx, secret, wrapContext(row.Domain)); err != nil {
		return fmt.Errorf("wrap a data key of %s: %w", row.Domain, err)
	}
	if err := r.db.Update(ctx, func(tx *meta.Tx) error { return tx.InsertDataKey(&row) }); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current[row.Domain] = youngest{row.ID, r.now().Add(currentFor)}
	return nil
}

// Rewrap wraps a data key anew, under the newest version of what wraps it.
func (r *Ring) Rewrap(ctx context.Context, row meta.DataKey) error {
	secret, err := r.wrapper(row.KMSKey).Unwrap(ctx, row.Wrapped, wrapContext(row.Domain))
	if err != nil {
		return fmt.Errorf("unwrap data key %d of %s: %w", row.ID, row.Domain, err)
	}
	wrapped, err := r.wrapper(row.KMSKey).Wrap(ctx, secret, wrapContext(row.Domain))
	if err != nil {
		return fmt.Errorf("wrap data key %d of %s: %w", row.ID, row.Domain, err)
	}
	return r.db.Update(ctx, func(tx *meta.Tx) error { return tx.RewrapDataKey(row.ID, wrapped) })
}

func (r *Ring) wrapper(kmsKey string) kms.Wrapper {
	if kmsKey == "" {
		return r.master
	}
	return r.keys.Key(kmsKey)
}

func wrapContext(domain string) kms.Context { return kms.Context{"berth:domain": domain} }

// youngest is the key that seals for a domain; meta.ErrNotFound: it has none.
func (r *Ring) youngest(ctx context.Context, domain string) (*dataKey, error) {
	now := r.now()
	r.mu.Lock()
	c, ok := r.current[domain]
	r.mu.Unlock()
	if ok && now.Before(c.until) {
		return r.find(ctx, domain, c.id)
	}
	var row meta.DataKey
	err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
		row, err = tx.CurrentDataKey(domain)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.current[domain] = youngest{row.ID, now.Add(currentFor)}
	r.mu.Unlock()
	return r.find(ctx, domain, row.ID)
}

// find gives a data key of the domain, asking its KMS key when that is due.
func (r *Ring) find(ctx context.Context, domain string, id int64) (*dataKey, error) {
	r.mu.Lock()
	k := r.opened[id]
	r.mu.Unlock()
	if k == nil || (!k.until.IsZero() && !r.now().Before(k.until)) {
		var err error
		if k, err = r.open(ctx, id); err != nil {
			return nil, err
		}
	}
	if k.domain != domain {
		return nil, fmt.Errorf("%w: number %d belongs to another domain than %s", ErrUnknownKey, id, domain)
	}
	return k, nil
}

func (r *Ring) open(ctx context.Context, id int64) (*dataKey, error) {
	var row meta.DataKey
	err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
		row, err = tx.DataKey(id)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		return nil, fmt.Errorf("%w: number %d", ErrUnknownKey, id)
	}
	if err != nil {
		return nil, err
	}
	asked := r.now()
	secret, err := r.wrapper(row.KMSKey).Unwrap(ctx, row.Wrapped, wrapContext(row.Domain))
	if err != nil {
		return nil, fmt.Errorf("unwrap data key %d of %s: %w", row.ID, row.Domain, err)
	}
	k, err := newDataKey(row, secret)
	if err != nil {
		return nil, err
	}
	if row.KMSKey != "" {
		k.until = asked.Add(r.keys.CacheFor())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened[id] = k
	return k, nil
}

func newDataKey(row meta.DataKey, secret []byte) (*dataKey, error) {
	if len(secret) != keySize {
		return nil, fmt.Errorf("data key %d has %d bytes, want %d", row.ID, len(secret), keySize)
	}
	k := &dataKey{id: row.ID, domain: row.Domain}
	var err error
	if k.prk, err = hkdf.Extract(sha256.New, secret, []byte("berth data key v1")); err != nil {
		return nil, err
	}
	text, err := hkdf.Expand(sha256.New, k.prk, "text", keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(text)
	if err != nil {
		return nil, err
	}
	k.text, err = cipher.NewGCMWithRandomNonce(block)
	return k, err
}

// Sealing names the data key that seals copies of a domain from now on.
func (r *Ring) Sealing(ctx context.Context, domain string) (int64, error) {
	k, err := r.youngest(ctx, domain)
	if err != nil {
		return 0, fmt.Errorf("find the data key of %s: %w", domain, err)
	}
	return k.id, nil
}

// Derive gives n secret bytes that belong to a label, under a data key of the domain.
func (r *Ring) Derive(ctx context.Context, domain string, dataKey int64, label string, n int) ([]byte, error) {
	k, err := r.find(ctx, domain, dataKey)
	if err != nil {
		return nil, err
	}
	return hkdf.Expand(sha256.New, k.prk, "copy\x00"+label, n)
}

// textVersion is the first byte of sealed text.
const textVersion = 1

const headerSize = 1 + 8 // version, number of the data key

// Seal seals a short text of the domain for a purpose:
//
//	version (1 byte) || data key (8, big endian) || nonce (12) || AES-256-GCM(text, tag 16)
//
// with the header and the purpose as additional data.
func (r *Ring) Seal(ctx context.Context, domain, purpose string, text []byte) ([]byte, error) {
	sealed, _, err := r.SealUnder(ctx, domain, purpose, text)
	return sealed, err
}

// SealUnder is Seal that tells the number of the data key too.
func (r *Ring) SealUnder(ctx context.Context, domain, purpose string, text []byte) (sealed []byte, dataKey int64, err error) {
	k, err := r.youngest(ctx, domain)
	if err != nil {
		return nil, 0, fmt.Errorf("find the data key of %s: %w", domain, err)
	}
	out := make([]byte, headerSize, headerSize+len(text)+k.text.Overhead())
	out[0] = textVersion
	binary.BigEndian.PutUint64(out[1:], uint64(k.id))
	return k.text.Seal(out, nil, text, additional(out[:headerSize], purpose)), k.id, nil
}

// Open opens a sealed text of the domain. ErrAltered: it is not what was
// sealed for the purpose.
func (r *Ring) Open(ctx context.Context, domain, purpose string, sealed []byte) ([]byte, error) {
	id, ok := KeyOf(sealed)
	if !ok {
		return nil, ErrAltered
	}
	k, err := r.find(ctx, domain, id)
	if err != nil {
		return nil, err
	}
	text, err := k.text.Open(nil, nil, sealed[headerSize:], additional(sealed[:headerSize], purpose))
	if err != nil {
		return nil, ErrAltered
	}
	return text, nil
}

// ErrAltered says that sealed text does not open: it was changed, or sealed
// for another purpose.
var ErrAltered = errors.New("sealed text was altered")

// KeyOf is the number of the data key that sealed a text; false: it is none.
func KeyOf(sealed []byte) (int64, bool) {
	if len(sealed) < headerSize || sealed[0] != textVersion {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(sealed[1:])), true
}

// KeyHeader is how every text begins that a data key sealed.
func KeyHeader(dataKey int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{textVersion}, uint64(dataKey))
}

// ManifestPurpose binds a sealed manifest to its digest.
func ManifestPurpose(digest string) string { return "manifest\x00" + digest }

func additional(header []byte, purpose string) []byte {
	return append(append(make([]byte, 0, len(header)+len(purpose)), header...), purpose...)
}
