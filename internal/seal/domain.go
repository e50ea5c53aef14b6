package seal

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"berth/internal/meta"
)

// A Domain is what may share one copy of bytes, and what has data keys of its
// own: an account and an encryption setting.
type Domain struct {
	Account string
	KMSKey  string // ARN of the key that wraps the domain's data keys; empty: the master key
	Dual    bool   // of KMS_DSSE, which shares nothing with KMS
}

// DualSuffix ends the names of dual domains, and of no others.
const DualSuffix = "-dsse"

// Name identifies the domain in rows and paths: [0-9a-z-]{12,40}.
func (d Domain) Name() string {
	if d.KMSKey == "" {
		return d.Account
	}
	sum := sha256.Sum256([]byte(d.KMSKey))
	name := d.Account + "-" + hex.EncodeToString(sum[:8])
	if d.Dual {
		name += DualSuffix
	}
	return name
}

// DomainOf is the domain that a data key belongs to.
func DomainOf(k meta.DataKey) Domain {
	account, _, _ := strings.Cut(k.Domain, "-")
	return Domain{Account: account, KMSKey: k.KMSKey, Dual: strings.HasSuffix(k.Domain, "-dsse")}
}
