package token

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"berth/internal/access"
)

const (
	// Lifetime is how long ECR's passwords last.
	Lifetime = 12 * time.Hour
	// MaxPassword is the longest password [Issuer.Parse] looks at, in bytes.
	MaxPassword = 4096
	// MaxCursor is the longest cursor [Issuer.OpenCursor] looks at, in bytes of
	// its sealed form; the value inside may have about three quarters of that.
	MaxCursor = 16 << 10

	// ExpiredMessage is the text the registry API answers for [ErrExpired].
	// Source: published ECR output.
	ExpiredMessage = "Your authorization token has expired. Reauthenticate and try again."

	maxField        = 640
	passwordPurpose = "registry password"
	cursorPurpose   = "cursor "
)

var (
	// ErrThrottled says that passwords of a source are not looked at now, since too
	// many were wrong.
	ErrThrottled = errors.New("too many passwords of this source were wrong")
	// ErrExpired is a genuine password whose time is over; the door answers
	// [ExpiredMessage].
	ErrExpired = errors.New("registry token has expired")
	// ErrInvalid is a password this registry never issued, or issued under a
	// signing key that was replaced.
	ErrInvalid = errors.New("registry token is not valid")
	// ErrCursor is a pagination cursor this server never issued for the purpose.
	ErrCursor = errors.New("pagination token is not valid")
)

// Claims is what a password says.
type Claims struct {
	// Principal is who asked for the password and on whose behalf it acts.
	Principal access.Principal
	// Account and Region are the registry that issued it. Using it on another
	// registry is allowed, as on ECR: the principal's permissions decide.
	Account, Region string
	// IssuedAt and ExpiresAt have a resolution of one second.
	IssuedAt, ExpiresAt time.Time
}

// Issuer makes and reads passwords and cursors. It is safe for concurrent use.
type Issuer struct {
	seal *sealer
	now  func() time.Time
}

// New returns an Issuer for a signing key of [KeySize] bytes, which all
// replicas share. The key is not kept in its original form.
func New(key []byte, now func() time.Time) (*Issuer, error) {
	s, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	return &Issuer{seal: s, now: now}, nil
}

// Issue makes a password for p, as its account's registry in the region gives
// it out. ttl is from one second to [Lifetime]; expires is the returned end,
// truncated to a second. The password goes to docker login after the user name
// AWS, and contains no colon.
func (i *Issuer) Issue(p access.Principal, region string, ttl time.Duration) (password string, expires time.Time, err error) {
	if ttl < time.Second || ttl > Lifetime {
		return "", time.Time{}, fmt.Errorf("token: lifetime %s is outside 1s to %s", ttl, Lifetime)
	}
	if p.Account == "" || p.ARN == "" {
		return "", time.Time{}, errors.New("token: the principal is nobody")
	}
	now := i.now().UTC().Truncate(time.Second)
	c := Claims{Principal: p, Account: p.Account, Region: region, IssuedAt: now, ExpiresAt: now.Add(ttl).Truncate(time.Second)}
	text, err := c.encode()
	if err != nil {
		return "", time.Time{}, err
	}
	password, err = i.seal.seal(passwordPurpose, text)
	if err != nil {
		return "", time.Time{}, err
	}
	return password, c.ExpiresAt, nil
}

// Parse reads a password. Its error is [ErrInvalid] or [ErrExpired], never
// anything that depends on the password's content; the claims come back with
// ErrExpired too, so that the refusal can be logged with a name.
func (i *Issuer) Parse(password string) (Claims, error) {
	if len(password) > MaxPassword {
		return Claims{}, ErrInvalid
	}
	text, err := i.seal.open(passwordPurpose, password)
	if err != nil {
		return Claims{}, ErrInvalid
	}
	c, ok := decodeClaims(text)
	if !ok {
		return Claims{}, ErrInvalid
	}
	if !i.now().Before(c.ExpiresAt) {
		return c, ErrExpired
	}
	return c, nil
}

// SealCursor seals a pagination position. purpose separates the lists, for
// example "ListImages 123456789012 us-east-1 app": a cursor opens only for the
// purpose it was made for. Values longer than [MaxCursor] allows cannot be
// opened again.
func (i *Issuer) SealCursor(purpose string, v []byte) (string, error) {
	s, err := i.seal.seal(cursorPurpose+purpose, v)
	if err != nil {
		return "", err
	}
	if len(s) > MaxCursor {
		return "", fmt.Errorf("token: a cursor of %d bytes is longer than %d", len(s), MaxCursor)
	}
	return s, nil
}

// OpenCursor returns the position sealed for this purpose, or [ErrCursor].
func (i *Issuer) OpenCursor(purpose, s string) ([]byte, error) {
	if len(s) > MaxCursor {
		return nil, ErrCursor
	}
	v, err := i.seal.open(cursorPurpose+purpose, s)
	if err != nil {
		return nil, ErrCursor
	}
	return v, nil
}

// The sealed text is two big-endian Unix seconds followed by six strings, each
// after its length in two bytes: account, region, then the principal's account,
// ARN, user id and access key id. The sealing version covers this layout.

func (c *Claims) fields() [6]*string {
	return [6]*string{&c.Account, &c.Region, &c.Principal.Account, &c.Principal.ARN, &c.Principal.UserID, &c.Principal.AccessKeyID}
}

func (c *Claims) encode() ([]byte, error) {
	out := make([]byte, 0, 256)
	out = binary.BigEndian.AppendUint64(out, uint64(c.IssuedAt.Unix()))
	out = binary.BigEndian.AppendUint64(out, uint64(c.ExpiresAt.Unix()))
	for _, f := range c.fields() {
		if len(*f) > maxField {
			return nil, fmt.Errorf("token: a claim of %d bytes is longer than %d", len(*f), maxField)
		}
		out = binary.BigEndian.AppendUint16(out, uint16(len(*f)))
		out = append(out, *f...)
	}
	return out, nil
}

func decodeClaims(text []byte) (c Claims, ok bool) {
	if len(text) < 16 {
		return Claims{}, false
	}
	c.IssuedAt = time.Unix(int64(binary.BigEndian.Uint64(text)), 0).UTC()
	c.ExpiresAt = time.Unix(int64(binary.BigEndian.Uint64(text[8:])), 0).UTC()
	text = text[16:]
	for _, f := range c.fields() {
		if len(text) < 2 {
			return Claims{}, false
		}
		n := int(binary.BigEndian.Uint16(text))
		text = text[2:]
		if n > maxField || n > len(text) {
			return Claims{}, false
		}
		*f, text = string(text[:n]), text[n:]
	}
	return c, len(text) == 0
}
