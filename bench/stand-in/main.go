// The stand-in: a straightforward server of the same protocol, as one would write it in an
// afternoon. One goroutine pair a client, a lock and a map for the rooms, encoding/json, and
// gorilla/websocket with its defaults: what a client gets is encoded when it is written to it. With
// -encode-once it is encoded once for all. It signs nobody in and limits nothing.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

type envelope struct {
	Type string          `json:"type"`
	Room string          `json:"room"`
	Data json.RawMessage `json:"data"`
	From string          `json:"from,omitempty"`
}

// What waits for a client: a value, or its text.
type message struct {
	value interface{}
	text  []byte
}

type member struct {
	ID   string `json:"userID"`
	Name string `json:"username"`
}

type client struct {
	member
	socket *websocket.Conn
	send   chan message
	gone   chan struct{}
	rooms  map[string]bool
}

var (
	lock     sync.RWMutex
	rooms    = map[string]map[*client]bool{}
	next     int64
	once     = flag.Bool("encode-once", false, "encode a message once for all its recipients")
	quiet    = flag.Bool("quiet", false, "tell nobody who joins: setting up is not measured")
	upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
)

// Frames that wait for one client; more of them close it.
const waiting = 256

func made(kind, room, from string, data interface{}) message {
	value := map[string]interface{}{"type": kind, "room": room, "data": data, "from": from}
	if !*once {
		return message{value: value}
	}
	text, err := json.Marshal(value)
	if err != nil {
		log.Fatal(err)
	}
	return message{text: text}
}

func (c *client) push(m message) {
	select {
	case c.send <- m:
	default:
		c.socket.Close()
	}
}

func broadcast(room string, m message) {
	lock.RLock()
	defer lock.RUnlock()
	for other := range rooms[room] {
		other.push(m)
	}
}

func (c *client) join(room string) {
	joined := made("room.joined", room, "system", map[string]interface{}{"user": c.member})
	lock.Lock()
	defer lock.Unlock()
	if rooms[room] == nil {
		rooms[room] = map[*client]bool{}
	}
	if !*quiet {
		for other := range rooms[room] {
			other.push(joined)
		}
	}
	rooms[room][c] = true
	c.rooms[room] = true
	users := make([]member, 0, len(rooms[room]))
	for other := range rooms[room] {
		users = append(users, other.member)
	}
	c.push(made("room.users", room, "system", map[string]interface{}{"users": users}))
}

func (c *client) leave(room string) {
	delete(c.rooms, room)
	lock.Lock()
	delete(rooms[room], c)
	if len(rooms[room]) == 0 {
		delete(rooms, room)
	}
	lock.Unlock()
	broadcast(room, made("room.left", room, "system", map[string]string{"userID": c.ID}))
}

func (c *client) read() {
	defer func() {
		for room := range c.rooms {
			c.leave(room)
		}
		close(c.gone)
		c.socket.Close()
	}()
	c.socket.SetReadLimit(65536)
	for {
		_, text, err := c.socket.ReadMessage()
		if err != nil {
			return
		}
		var in envelope
		if json.Unmarshal(text, &in) != nil {
			return
		}
		switch in.Type {
		case "session.hello":
			c.push(made("session.welcome", "", "system", map[string]interface{}{"v": 2, "userID": c.ID}))
		case "chat.join":
			c.join(in.Room)
		case "chat.leave":
			c.leave(in.Room)
		case "chat.message":
			var chat struct {
				Message string `json:"message"`
			}
			if !c.rooms[in.Room] || json.Unmarshal(in.Data, &chat) != nil || chat.Message == "" {
				continue
			}
			broadcast(in.Room, made("chat.message", in.Room, c.ID, in.Data))
		}
	}
}

func (c *client) write() {
	pings := time.NewTicker(54 * time.Second)
	defer pings.Stop()
	for {
		var err error
		select {
		case m := <-c.send:
			if m.text != nil {
				err = c.socket.WriteMessage(websocket.TextMessage, m.text)
			} else {
				err = c.socket.WriteJSON(m.value)
			}
		case <-pings.C:
			err = c.socket.WriteMessage(websocket.PingMessage, nil)
		case <-c.gone:
			return
		}
		if err != nil {
			c.socket.Close()
			return
		}
	}
}

func serve(w http.ResponseWriter, r *http.Request) {
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", atomic.AddInt64(&next, 1))
	c := &client{
		member: member{id, "bench"},
		socket: socket,
		send:   make(chan message, waiting),
		gone:   make(chan struct{}),
		rooms:  map[string]bool{},
	}
	go c.write()
	go c.read()
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address and port")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	http.HandleFunc("/ws", serve)
	log.Fatal(http.Serve(listener, nil))
}
