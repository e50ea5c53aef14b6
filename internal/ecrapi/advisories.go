package ecrapi

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"berth/internal/ecr"
	"berth/internal/meta"
	"berth/internal/scan/vulndb"
)

// ownInput is an operation of our own with an input of its own.
func ownInput(name string, input func() any, members ...ecr.Member) *ecr.Operation {
	return &ecr.Operation{Name: name, NewInput: input, Input: &ecr.Shape{Name: name + "Request", Kind: ecr.KindStructure, Members: members}}
}

type noInput struct{}

// advisoriesPart is what BerthImportAdvisories takes: some records of an import.
// Its fields are in the order of advisoriesPartMembers.
type advisoriesPart struct {
	State   []byte // of the answer before, as it was; JSON of vulndb.State
	Records []byte // JSON of a list of vulndb.Record
	Last    bool   // the import is whole, and replaces what is known of its ecosystems
}

// maxAdvisories is the length of the records of one part, in bytes: a record of
// the largest size that is taken, with everything in it escaped once.
const maxAdvisories = 36 << 20

func advisoriesPartMembers() []ecr.Member {
	most := int64(maxAdvisories)
	state := int64(256 << 10)
	return []ecr.Member{
		{Name: "state", Shape: &ecr.Shape{Name: "AdvisoriesState", Kind: ecr.KindBlob, Max: &state}, Required: true},
		{Name: "records", Shape: &ecr.Shape{Name: "AdvisoryRecords", Kind: ecr.KindBlob, Max: &most}},
		{Name: "last", Shape: &ecr.Shape{Name: "LastPart", Kind: ecr.KindBoolean}},
	}
}

// describeAdvisories lists what scans know, by ecosystem.
func describeAdvisories(d *Door, ctx context.Context, _ call, _ *noInput) (any, error) {
	sets, err := d.Advisories.Status(ctx)
	return map[string]any{"sets": sets}, err
}

// importAdvisories takes one part of an import. The state goes to the client and
// comes back, so that any server on the database takes the next part.
func importAdvisories(d *Door, ctx context.Context, _ call, in *advisoriesPart) (any, error) {
	p := vulndb.Part{Last: in.Last}
	if err := json.Unmarshal(in.State, &p.State); err != nil {
		return nil, ecr.NewException(ecr.CodeInvalidParameter, "Invalid parameter at 'state' failed to satisfy constraint: 'must be the state of the part before'")
	}
	if len(in.Records) > 0 {
		if err := json.Unmarshal(in.Records, &p.Records); err != nil {
			return nil, ecr.NewException(ecr.CodeInvalidParameter, "Invalid parameter at 'records' failed to satisfy constraint: 'must be a JSON list of objects with name and text'")
		}
	}
	answer, err := d.Advisories.Put(ctx, p)
	if errors.Is(err, vulndb.ErrOtherImport) {
		return nil, ecr.NewException(ecr.CodeInvalidParameter, "Invalid parameter at 'state' failed to satisfy constraint: '"+err.Error()+"'")
	}
	return answer, err
}

// exploitsInput is what BerthDescribeExploits takes. Its fields are in the order of
// exploitsMembers.
type exploitsInput struct {
	RegistryID     string
	RepositoryName string // that the caller may see findings of
	Names          []string
}

func exploitsMembers() []ecr.Member {
	name := &ecr.Shape{Name: "VulnerabilityName", Kind: ecr.KindString}
	least, most := int64(1), int64(1000)
	return []ecr.Member{
		{Name: "registryId", Shape: name},
		{Name: "repositoryName", Shape: name, Required: true},
		{Name: "names", Shape: &ecr.Shape{Name: "VulnerabilityNames", Kind: ecr.KindList, Min: &least, Max: &most, Elem: name}, Required: true},
	}
}

// describeExploits tells what is known of the exploitation of CVEs. Findings of
// enhanced scanning have no member for the scores of EPSS.
func describeExploits(d *Door, ctx context.Context, _ call, in *exploitsInput) (any, error) {
	known, _, err := d.Registry.Exploits(ctx, in.Names)
	out := []meta.Exploit{}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		out = append(out, known[name])
	}
	return map[string]any{"exploits": out}, err
}
