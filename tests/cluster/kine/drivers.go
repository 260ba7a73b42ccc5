// Package endpoint: this file takes the place of kine's own list of drivers while it is built. The others, with the
// databases that they embed, would be more than half of the work.
package endpoint

import (
	_ "github.com/k3s-io/kine/pkg/drivers/mysql"
	_ "github.com/k3s-io/kine/pkg/drivers/nats"
	_ "github.com/k3s-io/kine/pkg/drivers/pgsql"
)
