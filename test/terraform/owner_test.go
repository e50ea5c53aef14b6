package terraform_test

import "testing"

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

	// The one drift that is documented: Terraform would take the tag away again.
	b.tf(0, "plan", "-out=drift.bin")
	theirs := plan(b, b.tf(0, "show", "-json", "drift.bin").Stdout)
	same(b, "counts of terraform plan after the adoption", theirs.count(), counts{Change: len(before.Repositories)})
	for address, change := range theirs.changes() {
		same(b, "attributes of "+address+" but for the tag", change.After, change.Before)
	}
}

// testOwners lets Terraform and the native engine work in one registry. Neither touches what the other made, in the
// other's directory as little as in its own.
func testOwners(t *testing.T, l *lab) {
	b := l.newBench(t)
	terraforms, natives := b.at("terraforms"), b.at("natives")
	for dir, text := range map[string]string{
		"terraforms": `repositories = { "by-terraform" = {} }`, "natives": `repositories = { "by-berth" = {} }`,
	} {
		b.write(dir+"/main.tf", "module \"ecr\" {\n  source = \"../modules/ecr\"\n  force_delete = true\n  "+text+"\n}\n")
	}
	terraforms.tf(0, "init")
	natives.tf(0, "init")
	terraforms.apply()
	natives.appliedNatively(b.server)
	push(t, b.server, "by-terraform", "v1")
	push(t, b.server, "by-berth", "v1")
	both := read(t, b.server)
	if len(both.Repositories) != 2 {
		t.Fatalf("not both are there: %s", indented(t, both))
	}

	// Each in the other's directory.
	contains(t, "berth destroy", terraforms.native(b.server, 0, "destroy", ".", "--auto-approve").Stdout,
		`repository "by-terraform" stays, because it is not managed by stack`)
	contains(t, "berth apply", terraforms.native(b.server, 1, "apply", ".", "--auto-approve").Stderr, "is not managed by stack")
	contains(t, "terraform apply", joined(natives.applying(1).errors),
		"RepositoryAlreadyExistsException: The repository with name 'by-berth' already exists in the registry with id '"+account+"'")
	natives.apply("-destroy")
	same(t, "registry after all that", read(t, b.server), both)
	same(t, "images of by-terraform", images(t, b.server, "by-terraform"), []string{"v1"})
	same(t, "images of by-berth", images(t, b.server, "by-berth"), []string{"v1"})

	// Each sees its own work complete, and destroys only that.
	terraforms.converged()
	natives.native(b.server, 0, "plan", ".", "--detailed-exitcode")
	natives.native(b.server, 0, "destroy", ".", "--auto-approve")
	delete(both.Repositories, "by-berth")
	same(t, "registry after berth destroy", read(t, b.server), both)
	terraforms.apply("-destroy")
	if rest := read(t, b.server); !rest.empty() {
		t.Errorf("terraform destroy leaves %s", indented(t, rest))
	}
}
