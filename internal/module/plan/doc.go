// Package plan compares the state that the configuration asks for with the one that exists, and says what has to be
// done. It is pure.
//
// Ownership. There is no state file: a repository belongs to a stack, the whole of a configuration, when its tag
// desired.OwnerTag names the stack, also when the module block that created it is gone. A repository without that tag is never changed unless the configuration names it and Options.Adopt is set,
// and never deleted. Pull-through cache rules cannot be tagged, so the rule is: one that the configuration names and
// that exists with the same settings is taken as it is; one that differs is replaced only when its address is in
// Options.AllowReplace; destroy deletes it only when the configuration being destroyed names it and its settings are
// equal; one that the configuration does not name is never touched.
//
// Differences are semantic: key order, rule order, single values against lists of one, and account ids against root
// ARNs make no difference.
package plan
