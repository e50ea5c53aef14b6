package meta

import "errors"

// A SettingKind names one setting of registries. It becomes part of a key, so
// it has no space in it.
type SettingKind string

// RegistrySetting reads a setting of a registry; nil is none.
func (tx *Tx) RegistrySetting(s Scope, kind SettingKind) ([]byte, error) {
	v, err := tx.Setting(registrySettingName(s, kind))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return v, err
}

// PutRegistrySetting stores a setting of a registry; nil removes it.
func (tx *Tx) PutRegistrySetting(s Scope, kind SettingKind, value []byte) error {
	if value == nil {
		return tx.exec(`DELETE FROM settings WHERE name = $1`, registrySettingName(s, kind))
	}
	return tx.exec(`INSERT INTO settings (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, registrySettingName(s, kind), value)
}

func registrySettingName(s Scope, kind SettingKind) string {
	return string(kind) + " " + s.Account + " " + s.Region
}
