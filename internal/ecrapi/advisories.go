package ecrapi

import (
	"context"
	"encoding/json"
	"errors"

	"berth/internal/ecr"
	"berth/internal/scan/vulndb"
)

// advisoriesOperation is an operation of our own with an input of its own.
func advisoriesOperation(name string, input func() any, members ...ecr.Member) *ecr.Operation {
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
