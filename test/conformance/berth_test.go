package conformance

import (
	"testing"

	"berth/internal/server/servertest"
)

// TestOCIConformance allows no exception: Berth supports everything that is switched on.
func TestOCIConformance(t *testing.T) {
	server := servertest.Start(t)
	server.CreateRepositories(Repository1, Repository2)
	user, password := server.Login()
	Run(t, Registry{Host: server.Host, User: user, Password: password}, nil)
}
