package terraform_test

// adopted checks what the native engine makes of a registry that Terraform made from the same directory: without
// --adopt it refuses politely, with it there is nothing to do but to mark the repositories as its own.
func (b *bench) adopted() {
	b.Helper()
	before := read(b, b.server)
	refused := b.native(b.server, 1, "plan", ".")
	contains(b, "berth plan without --adopt", refused.Stderr, "exists but is not managed by stack", "pass --adopt to take it over, or give yours another name")
	b.native(b.server, 1, "apply", ".", "--auto-approve")
	same(b, "registry after refusals", read(b, b.server), before)

	for address, change := range plan(b, b.native(b.server, 0, "plan", ".", "--adopt", "--json").Stdout).changes() {
		same(b, "attributes of "+address+" when it is adopted", change.After, change.Before)
	}
	n := b.appliedNatively(b.server, "--adopt")
	same(b, "counts of the adoption", n, counts{Change: len(before.Repositories)})
	after := read(b, b.server)
	if owners := after.owners(); len(owners) != len(before.Repositories) {
		b.Errorf("adopted %v", owners)
	}
	same(b, "registry after the adoption", after, before)
	b.native(b.server, 0, "plan", ".", "--detailed-exitcode")
}
