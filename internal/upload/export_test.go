package upload

import (
	"context"

	"berth/internal/blob"
)

// Stage is the stage of a session, for tests that act behind the receiver's back.
func (r *Receiver) Stage(ctx context.Context, repositoryID int64, id string) (blob.Stage, error) {
	u, err := r.Session(ctx, repositoryID, id)
	if err != nil {
		return blob.Stage{}, err
	}
	_, stage, err := r.decode(ctx, u)
	return stage, err
}
