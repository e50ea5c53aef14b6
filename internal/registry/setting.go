package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"berth/internal/meta"
)

// readSetting reads a setting of a registry; false when it was never put.
func readSetting[T any](tx *meta.Tx, s meta.Scope, kind meta.SettingKind) (v T, ok bool, err error) {
	b, err := tx.RegistrySetting(s, kind)
	if err != nil || b == nil {
		return v, false, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, false, fmt.Errorf("read the setting %s of the registry of account %s in %s: %w", kind, s.Account, s.Region, err)
	}
	return v, true, nil
}

// putSetting replaces a setting of a registry.
func putSetting[T any](tx *meta.Tx, s meta.Scope, kind meta.SettingKind, v T) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.PutRegistrySetting(s, kind, b)
}

// Names of account settings (API_PutAccountSetting).
const (
	BasicScanTypeVersion = "BASIC_SCAN_TYPE_VERSION"
	RegistryPolicyScope  = "REGISTRY_POLICY_SCOPE"
	BlobMounting         = "BLOB_MOUNTING"
)

// Values of BLOB_MOUNTING.
const (
	Enabled  = "ENABLED"
	Disabled = "DISABLED"
)

// accountSettings are the settings in the order in which they are printed, each
// with its values; the first is the default.
//
// Sources: API_PutAccountSetting, name and value; ECR User Guide, "Private
// registry settings". CLAIR and the policy scope V1, which old registries of AWS
// may still have, cannot be chosen there any more, and are not here. AWS has
// mounts off by default; docs/compatibility.md says why they are on here.
var accountSettings = []struct {
	name   string
	values []string
}{
	{BasicScanTypeVersion, []string{"AWS_NATIVE"}},
	{RegistryPolicyScope, []string{"V2"}},
	{BlobMounting, []string{Enabled, Disabled}},
}

// accountSettingKind is where an account setting is kept.
func accountSettingKind(name string) meta.SettingKind {
	return meta.SettingKind("account-setting:" + name)
}

// valuesOf finds the values that an account setting may have.
func valuesOf(name string) ([]string, error) {
	names := make([]string, len(accountSettings))
	for i, a := range accountSettings {
		if a.name == name {
			return a.values, nil
		}
		names[i] = a.name
	}
	return nil, invalid("name", "Member must satisfy enum value set: ["+strings.Join(names, ", ")+"]")
}

func readAccountSetting(tx *meta.Tx, s meta.Scope, name string) (string, error) {
	values, err := valuesOf(name)
	if err != nil {
		return "", err
	}
	v, ok, err := readSetting[string](tx, s, accountSettingKind(name))
	if err == nil && !ok {
		v = values[0]
	}
	return v, err
}

// AccountSetting reads an account setting of a registry, or its default.
func (r *Registry) AccountSetting(ctx context.Context, s meta.Scope, name string) (value string, err error) {
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		value, err = readAccountSetting(tx, s, name)
		return err
	})
	return value, err
}

// SetAccountSetting changes an account setting of a registry. BLOB_MOUNTING
// decides about the next mount; the others have one value each today, and
// basic scanning has no other version of itself.
func (r *Registry) SetAccountSetting(ctx context.Context, s meta.Scope, name, value string) error {
	values, err := valuesOf(name)
	if err != nil {
		return err
	}
	if !slices.Contains(values, value) {
		return invalid("value", "Member must satisfy enum value set: ["+strings.Join(values, ", ")+"]")
	}
	return r.db.Update(ctx, func(tx *meta.Tx) error { return putSetting(tx, s, accountSettingKind(name), value) })
}
